"""The bytes of an answer, cut into pieces as they come."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Protocol, TypeVar

from pydantic import ValidationError

from services.cli.client.errors import Unreachable
from shared import schema
from shared.version import VERSION

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

    Other events are left aside, and so is one that breaks off. Raises Unreachable for what cannot be read.
    """

    _MODELS: ClassVar[Mapping[str, type[schema.Job | schema.GrowingText]]] = {
        "job": schema.Job,
        "text": schema.GrowingText,
    }

    def __init__(self) -> None:
        self._lines = Lines()
        self._fields: dict[str, list[str]] = {}

    def feed(self, data: bytes) -> Iterator[schema.Job | schema.GrowingText]:
        for line in self._lines.feed(data):
            if stripped := line.rstrip(b"\r"):
                # A comment is a field without a name.
                name, _, value = stripped.decode(errors="replace").partition(":")
                self._fields.setdefault(name, []).append(value.removeprefix(" "))
                continue
            fields, self._fields = self._fields, {}
            if "data" in fields and (model := self._MODELS.get(fields.get("event", [""])[-1])):
                try:
                    yield model.model_validate_json("\n".join(fields["data"]))
                except ValidationError as error:
                    raise Unreachable(
                        f"The service told of an event that is no {model.__name__} to glamm {VERSION}.",
                        field="url",
                        remedy="If the service is newer, install its version here.",
                    ) from error

    def close(self) -> Iterator[schema.Job | schema.GrowingText]:
        yield from ()
