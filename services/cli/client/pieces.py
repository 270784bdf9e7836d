"""The bytes of an answer, cut into pieces as they come."""

from collections.abc import Iterator
from typing import Protocol, TypeVar

from shared import schema

Piece_co = TypeVar("Piece_co", covariant=True)


class Cutter(Protocol[Piece_co]):
    def feed(self, data: bytes) -> Iterator[Piece_co]:
        """The pieces that end in `data`."""

    def close(self) -> Iterator[Piece_co]:
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


class JobEvents:
    """Server-Sent Events of a job, as the WHATWG has them: the job as it is, or one of its answers as far as it goes.

    Other events are left aside, and so is one that breaks off.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._fields: dict[str, list[str]] = {}

    def feed(self, data: bytes) -> Iterator[schema.Job | schema.GrowingText]:
        for line in self._lines.feed(data):
            if stripped := line.rstrip(b"\r"):
                # A comment is a field without a name.
                name, _, value = stripped.decode().partition(":")
                self._fields.setdefault(name, []).append(value.removeprefix(" "))
                continue
            fields, self._fields = self._fields, {}
            match fields.get("event", [""])[-1]:
                case "job":
                    yield schema.Job.model_validate_json("\n".join(fields["data"]))
                case "text":
                    yield schema.GrowingText.model_validate_json("\n".join(fields["data"]))

    def close(self) -> Iterator[schema.Job | schema.GrowingText]:
        yield from ()
