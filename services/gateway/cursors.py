"""Where a page of a list begins: opaque to clients, and true whatever is added in front of it meanwhile."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAYOUT = struct.Struct(">q16s")


def encode(created_at: datetime, id: UUID) -> str:  # noqa: A002
    """The cursor for what comes behind this one."""
    return urlsafe_b64encode(_LAYOUT.pack((created_at - _EPOCH) // _MICROSECOND, id.bytes)).decode()


def decode(cursor: str) -> tuple[datetime, UUID]:
    """Raises InvalidInput."""
    try:
        microseconds, raw = _LAYOUT.unpack(urlsafe_b64decode(cursor))
        return _EPOCH + microseconds * _MICROSECOND, UUID(bytes=raw)
    except (ValueError, struct.error, OverflowError):
        raise InvalidInput(
            "cursor", "The cursor is none of this service's.", "Send next_cursor of the page before, or no cursor."
        ) from None
