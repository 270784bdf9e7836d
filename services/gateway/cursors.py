"""Where a page of a list begins: opaque to clients, and true whatever is added in front of it meanwhile."""

import binascii
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from shared.errors import InvalidInput

T = TypeVar("T")


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
