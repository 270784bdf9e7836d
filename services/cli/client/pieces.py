"""The bytes of an answer, cut into pieces as they come."""

from collections.abc import Iterator
from typing import Protocol


class Cutter(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces that end in `data`."""

    def close(self) -> Iterator[bytes]:
        """What is left at the end."""


class Lines:
    """Without their line feeds, which alone end a line: JSON may hold the other line separators of Unicode."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        *ended, rest = data.split(b"\n")
        for line in ended:
            yield bytes(self._held) + line
            self._held.clear()
        self._held += rest

    def close(self) -> Iterator[bytes]:
        if self._held:
            yield bytes(self._held)


class AsTheyCome:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def close(self) -> Iterator[bytes]:
        yield from ()
