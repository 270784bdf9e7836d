"""Cursor pages: newest first, each page saying where the next one begins."""

from collections.abc import Sequence
from typing import Annotated, Protocol, TypeVar
from uuid import UUID

from fastapi import Query

Cursor = Annotated[UUID | None, Query(description="`next` of the page before; the newest when left out")]
Limit = Annotated[int, Query(ge=1, le=200, description="entries a page")]
LIMIT = 50


class _Identified(Protocol):
    @property
    def id(self) -> UUID: ...


T = TypeVar("T", bound=_Identified)


def cut(found: Sequence[T], limit: int) -> tuple[Sequence[T], str | None]:
    """A page and the cursor of the next. found: one entry more than a page has, where there are more."""
    page = found[:limit]
    return page, str(page[-1].id) if len(found) > limit else None
