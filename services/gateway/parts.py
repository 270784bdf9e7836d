"""The parts of a form as they come: text fields and a file, each read no further than its limit."""

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartParser
from starlette.requests import Request

from services.gateway.errors import field_name
from shared.errors import TooLarge
from shared.images import Limits, too_many_bytes

MAX_FIELD_BYTES = 1024 * 1024
"""Far more than a valid field has, so that a prompt which is too long is called that and not a field too large."""
MAX_FIELDS = 12
MAX_FILES = 1


async def read_parts(request: Request, limits: Limits) -> FormData:
    """To be closed by the caller. Raises TooLarge naming the part, and MultiPartException for what is no form."""
    return await _Parts(request, limits).parse()


class _Parts(MultiPartParser):
    """Starlette's own has no limit for files, and does not say whose text is too long."""

    def __init__(self, request: Request, limits: Limits) -> None:
        super().__init__(request.headers, request.stream(), max_files=MAX_FILES, max_fields=MAX_FIELDS)
        self._limits = limits
        self._bytes = 0

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self._bytes = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._bytes += end - start
        if self._current_part.file is not None:
            if self._bytes > self._limits.max_bytes:
                raise too_many_bytes(self._limits, field_name(self._current_part.field_name))
        elif self._bytes > MAX_FIELD_BYTES:
            raise _too_long(field_name(self._current_part.field_name))
        super().on_part_data(data, start, end)


def _too_long(field: str) -> TooLarge:
    return TooLarge(
        field,
        f"The form's field {field!r} has more than {MAX_FIELD_BYTES:,} bytes.",
        f"Send at most {MAX_FIELD_BYTES:,} bytes of text in a field.",
    )
