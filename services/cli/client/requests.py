"""A request and its body, before any HTTP library knows of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote


@dataclass(frozen=True)
class Json:
    value: Any


@dataclass(frozen=True)
class Data:
    content: bytes
    media_type: str


@dataclass(frozen=True)
class File:
    """Sent in pieces as it is read, so that it may be longer than memory."""

    path: Path
    media_type: str


Body: TypeAlias = Json | Data | File
Query: TypeAlias = str | int | float | Sequence[str]


@dataclass(frozen=True)
class Request:
    """path: below the service's URL; or a whole URL of another server, which must not see the API key."""

    method: str
    path: str
    query: Mapping[str, Query] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None

    @property
    def elsewhere(self) -> bool:
        return not self.path.startswith("/")

    @property
    def all_headers(self) -> dict[str, str]:
        """With what httpx does not know of a body. Raises OSError."""
        match self.body:
            case Data(_, kind):
                more = {"content-type": kind}
            case File(path, kind):
                more = {"content-type": kind, "content-length": str(path.stat().st_size)}
            case _:
                more = {}
        return {**{name.lower(): value for name, value in self.headers.items()}, **more}


def filled(template: str, values: Mapping[str, Any]) -> str:
    """`/jobs/{job_id}` → `/jobs/0199…`."""
    return template.format_map({name: quote(str(value), safe="") for name, value in values.items()})


def head(path: Path) -> bytes:
    """As much of a file as `sniff` looks at. Raises OSError."""
    with path.open("rb") as file:
        return file.read(12)


def sniff(data: bytes) -> str:
    """The content type of an image to declare; the service looks at the bytes and refuses what does not fit."""
    if data.startswith(b"\x89PNG"):
        return "image/png"
    if data.startswith(b"\xff\xd8"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return "application/octet-stream"
