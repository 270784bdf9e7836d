"""Where a page of a list begins: a client hands back what the page before gave it, and need not know what it means."""

import base64
import binascii
from collections.abc import Callable
from typing import TypeVar

from shared.errors import InvalidInput

T = TypeVar("T")


def cursor(value: object) -> str:
    """That of the entries behind the one that `value` names."""
    return base64.urlsafe_b64encode(str(value).encode()).decode().rstrip("=")


def behind(given: str | None, parse: Callable[[str], T]) -> T | None:
    """What the cursor names; None for the first page. parse: raises ValueError. Raises InvalidInput."""
    if given is None:
        return None
    try:
        return parse(base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True).decode())
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(
            "cursor", "This is no cursor of this list.", "Send `next` of the page before, or nothing for the first."
        ) from error


def number(text: str) -> int:
    """A line's, which Postgres can compare. Raises ValueError."""
    value = int(text)
    if not 0 <= value < 2**31:
        raise ValueError(f"{value} is no line")
    return value
