"""A manifest, JSON Lines in UTF-8, cut into lines as its bytes come, in as much memory as one line may take."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

from shared.errors import InvalidInput, TooLarge

MAX_LINE_BYTES = 1024 * 1024
_OTHER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MARK = codecs.BOM_UTF8
_MOST_LINES = 2**31 - 1


@dataclass(frozen=True)
class RawLine:
    """data: None for a line that is longer than MAX_LINE_BYTES. number: from 1, blank lines counted."""

    number: int
    data: bytes | None


class Lines:
    """Bytes in, lines out; blank ones are left out."""

    def __init__(self) -> None:
        self._number = 0
        self._held = bytearray()
        self._too_long = False
        self._begun = False

    def feed(self, data: bytes) -> Iterator[RawLine]:
        """The lines that end in `data`. Raises InvalidInput where the text is in another encoding."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._hold(data[start:end])
            yield from self._cut()
            start = end + 1
        self._hold(data[start:])

    def close(self) -> Iterator[RawLine]:
        """The last line, which may lack its end."""
        if self._held or self._too_long:
            yield from self._cut()

    def _hold(self, data: bytes) -> None:
        if self._too_long:
            return
        self._held += data
        if not self._begun and len(self._held) >= len(_MARK):
            self._begin()
        if len(self._held) > MAX_LINE_BYTES:
            self._held.clear()
            self._too_long = True

    def _begin(self) -> None:
        self._begun = True
        if self._held.startswith(_OTHER_MARKS) or b"\0" in self._held[: len(_MARK)]:
            raise InvalidInput(
                "line 1", "The manifest is not in UTF-8: it begins like UTF-16 or UTF-32.", "Send it in UTF-8."
            )
        if self._held.startswith(_MARK):
            del self._held[: len(_MARK)]

    def _cut(self) -> Iterator[RawLine]:
        self._number += 1
        if self._number > _MOST_LINES:
            raise TooLarge("body", f"The manifest has more than {_MOST_LINES:,} lines.", "Send several.")
        data, too_long = bytes(self._held), self._too_long
        self._held.clear()
        self._too_long = False
        if too_long:
            yield RawLine(self._number, None)
        elif data.strip():
            yield RawLine(self._number, data)
