"""What `glamm submit` was given, as files to upload and the manifest that names them.

A folder asks the same of every image in it. A manifest of one's own has a job a line, as docs/bulk.md tells, and may
name images by `file`, which stands for the `image_id` that the upload gives.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from services.cli.questions import ENDINGS
from shared import schema
from shared.errors import InvalidInput
from shared.repeated_keys import once
from shared.sources import SCHEME, split
from shared.tasks import Ask

MANIFEST_ENDINGS = (".jsonl", ".ndjson")


class Plan(Protocol):
    @property
    def files(self) -> Sequence[Path]:
        """The images to upload, each once, in an order that does not change from run to run."""

    @property
    def has_boxes(self) -> bool:
        """Whether it names regions, which have to lie inside of their images."""

    def lines(self, ids: Mapping[Path, str]) -> Iterator[bytes]:
        """The manifest, a line a job, whose line feed is left out. An image without an id makes an empty line.

        So the service counts lines as the plan does: the n-th is of the n-th image, or line n of the user's own.
        """

    def name(self, line: int) -> str:
        """What people call the job of a line, from 1."""


@dataclass(frozen=True)
class Image:
    """name: the path below the folder that was given, with slashes; it becomes the job's custom_id."""

    path: Path
    name: str


@dataclass(frozen=True)
class SameAsk:
    """One job on each image."""

    images: Sequence[Image]
    ask: Ask

    @cached_property
    def files(self) -> Sequence[Path]:
        return list(dict.fromkeys(image.path for image in self.images))

    @property
    def has_boxes(self) -> bool:
        return bool(self.ask.boxes)

    def lines(self, ids: Mapping[Path, str]) -> Iterator[bytes]:
        asked = schema.from_ask(self.ask).model_dump(mode="json", exclude_none=True)
        for image in self.images:
            image_id = ids.get(image.path)
            yield b"" if image_id is None else _json({"custom_id": image.name, "image_id": image_id, **asked})

    def name(self, line: int) -> str:
        return self.images[line - 1].name


@dataclass(frozen=True)
class OwnManifest:
    """Jobs as a file has them. Read anew each time it is needed, for it may be longer than memory."""

    path: Path

    @cached_property
    def files(self) -> Sequence[Path]:
        named = (self._file(number, _object(number, raw)) for number, raw in self._raw() if b'"file"' in raw)
        return list(dict.fromkeys(file for file in named if file is not None))

    @cached_property
    def has_boxes(self) -> bool:
        return any(b'"boxes"' in raw for _, raw in self._raw())

    def lines(self, ids: Mapping[Path, str]) -> Iterator[bytes]:
        for number, raw in self._raw():
            told = _object(number, raw) if b'"file"' in raw else None
            file = self._file(number, told)
            if told is None or file is None:
                yield raw
                continue
            del told["file"]
            told.pop("image_id", None)  # a null, which would stand in the way of the file's
            yield b"" if file not in ids else _json({"image_id": ids[file], **told})

    def name(self, line: int) -> str:
        return f"line {line}"

    def _raw(self) -> Iterator[tuple[int, bytes]]:
        try:
            with self.path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    yield number, line.rstrip(b"\r\n")
        except OSError as error:
            raise InvalidInput("SOURCE", f"{self.path} cannot be read: {error.strerror}.", "Name a manifest.") from None

    def _file(self, number: int, told: dict[str, Any] | None) -> Path | None:
        """Relative to the manifest's folder. None for what names no file: its line is for the service to judge."""
        if told is None or "file" not in told:
            return None
        for other in ("image_id", "s3_uri"):
            if told.get(other) is not None:
                raise InvalidInput(
                    f"line {number}: file", f"The line names an image by {other}, too.", "Leave one of them out."
                )
        name = told["file"]
        if not isinstance(name, str) or not name or "\0" in name:
            raise InvalidInput(f"line {number}: file", "It is no file's name.", "Name an image file, or leave it out.")
        return (self.path.parent / name).absolute()


@dataclass(frozen=True)
class InBucket:
    """One job on each image below a prefix. The service looks for them, so that there are no files and no manifest."""

    place: schema.S3Prefix
    ask: Ask


def in_bucket(sources: Sequence[str]) -> schema.S3Prefix | None:
    """The place that was given in place of images here. Raises InvalidInput where there are others beside it."""
    named = [source for source in sources if source.startswith(SCHEME)]
    if not named:
        return None
    if len(sources) > 1:
        raise InvalidInput("SOURCE", f"{named[0]} lies in a bucket, and there is more.", "Submit it alone.")
    bucket, prefix = split(named[0])
    try:
        return schema.S3Prefix.model_validate({"bucket": bucket, "prefix": prefix})
    except ValidationError:
        raise InvalidInput("SOURCE", f"{named[0]} names no place in a bucket.", "Write s3://BUCKET/PREFIX.") from None


def own_manifest(sources: Sequence[Path]) -> OwnManifest | None:
    """The manifest that was given in place of images. Raises InvalidInput where there are images beside it."""
    manifests = [source for source in sources if source.suffix.lower() in MANIFEST_ENDINGS]
    if not manifests:
        return None
    if len(sources) > 1:
        raise InvalidInput("SOURCE", f"{manifests[0]} is a manifest, and there is more.", "Submit it alone.")
    return OwnManifest(manifests[0])


def find(sources: Sequence[Path]) -> list[Image]:
    """The images of files and folders, as they were given; those below a folder by their path.

    Of a folder PNG, JPEG and WebP files are taken, by the endings of their names; names that begin with a dot and
    links to other folders are left aside. Raises InvalidInput.
    """
    found = [image for source in sources for image in _images(source)]
    if not found:
        raise InvalidInput("SOURCE", f"{sources[0]} holds no PNG, JPEG or WebP.", "Name the folder with the images.")
    first: dict[str, Path] = {}
    for image in found:
        if first.setdefault(image.name, image.path) != image.path:
            raise InvalidInput(
                "SOURCE",
                f"{first[image.name]} and {image.path} would both be called {image.name}.",
                "Submit them one by one, or name a folder that holds both.",
            )
    return found if len(first) == len(found) else [Image(path, name) for name, path in first.items()]


def _images(source: Path) -> list[Image]:
    if not source.is_dir():
        return [Image(source.absolute(), source.as_posix())]
    paths: list[tuple[str, Path]] = []
    for folder, folders, names in os.walk(source, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images = (name for name in names if name.lower().endswith(ENDINGS) and not name.startswith("."))
        paths += (((Path(folder) / name).relative_to(source).as_posix(), Path(folder) / name) for name in images)
    return [Image(path.absolute(), name) for name, path in sorted(paths)]


def _unreadable(error: OSError) -> None:
    raise InvalidInput("SOURCE", f"{error.filename} cannot be read: {error.strerror}.", "See to its permissions.")


def _object(number: int, raw: bytes) -> dict[str, Any] | None:
    """None for what is no object, for the service to judge. Raises InvalidInput for a field that comes twice."""
    try:
        told = json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None
    except InvalidInput as error:
        error.field = f"line {number}: {error.field}"
        raise
    return told if isinstance(told, dict) else None


def _json(value: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        # What is no Unicode goes as it came, escaped, for the service to tell of.
        return json.dumps(value, separators=(",", ":")).encode()
