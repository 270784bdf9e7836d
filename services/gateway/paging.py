"""Pages of lists: opaque cursors that stay true whatever is added in front of them meanwhile."""

import binascii
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Query

from shared.errors import InvalidInput

Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before; left out for the first")]
Limit = Annotated[int, Query(ge=1, le=200, description="entries a page")]
LIMIT = 50

T = TypeVar("T")
Entry = TypeVar("Entry")


def cursor(*position: object) -> str:
    """For what comes behind the entry at this position."""
    return urlsafe_b64encode(" ".join(map(str, position)).encode()).decode().rstrip("=")


def behind(given: str | None, parse: Callable[[str], T]) -> T | None:
    """The position; None for the first page. parse: raises ValueError. Raises InvalidInput."""
    if given is None:
        return None
    try:
        return parse(b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True).decode())
    except (ValueError, OverflowError, binascii.Error) as error:
        raise InvalidInput(
            "cursor", "This is no cursor of this list.", "Send `next` of the page before, or nothing for the first."
        ) from error


def number(text: str) -> int:
    """A line's, which Postgres can compare. Raises ValueError."""
    value = int(text)
    if not 0 <= value < 2**31:
        raise ValueError(f"{value} is no line")
    return value


def time_and_id(text: str) -> tuple[datetime, UUID]:
    """When an entry was created, and which of that time. Raises ValueError."""
    time, _, id_ = text.rpartition(" ")
    created_at = datetime.fromisoformat(time)
    if created_at.tzinfo is None:
        raise ValueError("a time without a zone")
    return created_at, UUID(id_)


def cut(
    found: Sequence[Entry], limit: int, position: Callable[[Entry], tuple[object, ...]]
) -> tuple[Sequence[Entry], str | None]:
    """A page and the cursor of the next. found: one entry more than a page has, where there are more."""
    page = found[:limit]
    return page, cursor(*position(page[-1])) if len(found) > limit else None
