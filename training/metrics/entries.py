"""JSON files as a list of entries, each of which can say where it stands when something in it is wrong."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import InvalidInput
from shared.masks import Rle
from training.metrics.rle import BadMaskError, parse

Value = TypeVar("Value")


@dataclass(frozen=True)
class Entry:
    """One object of a file. place: the file, and where in it, for errors."""

    place: str
    data: Mapping[str, Any]
    file_stem: str | None = None

    def wrong(self, detail: str, remedy: str) -> InvalidInput:
        return InvalidInput(self.place, detail, remedy)

    def text(self, *names: str) -> str:
        """The first of these members that is there."""
        for name in names:
            if isinstance(value := self.data.get(name), str):
                return value
        raise self.wrong(f"{' or '.join(names)} is missing or no text.", f"Give each entry {_a(names[0])}.")

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, empty where the member is absent."""
        value = self.data.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(f"{name} is not a list of texts.", f'Write it as "{name}": ["…", "…"].')
        return tuple(value)

    def key(self, *names: str) -> str:
        """The first of these members that is there, a number or a text, as text."""
        for name in names:
            value = self.data.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool):
                return str(value)
        raise self.wrong(f"{' or '.join(names)} is missing.", f"Give each entry {_a(names[0])}.")

    @property
    def image(self) -> str:
        """`image_id`, else `file_name`; where both are absent, the name of the entry's own file without its ending."""
        if self.file_stem is not None and "image_id" not in self.data and "file_name" not in self.data:
            return self.file_stem
        return self.key("image_id", "file_name")

    def bbox(self) -> tuple[float, float, float, float]:
        """COCO's `bbox`: x, y, width and height in pixels."""
        match self.data.get("bbox"):
            case [int() | float() as x, int() | float() as y, int() | float() as width, int() | float() as height]:
                return float(x), float(y), float(width), float(height)
        raise self.wrong("bbox is missing or not four numbers.", "Give each region its bbox: [x, y, width, height].")

    def mask(self, value: object, name: str, size: tuple[int, int] | None = None) -> Rle | None:
        """See `rle.parse`. name: the mask's, for errors; size: (height, width) that it must have."""
        try:
            return parse(value, size)
        except BadMaskError as error:
            raise self.wrong(
                f"{name} {error}.", "Write masks as COCO RLE objects at the size of the original image."
            ) from None

    def masks(self, name: str, size: tuple[int, int] | None = None) -> tuple[Rle, ...]:
        """A list of RLE objects, empty where the member is absent."""
        value = self.data.get(name, [])
        if not isinstance(value, list):
            raise self.wrong(f"{name} is not a list.", f'Write it as "{name}": [RLE, RLE].')
        parsed = [self.mask(item, f"{name}[{n}]", size) for n, item in enumerate(value)]
        if None in parsed:
            raise self.wrong(f"{name} has an empty entry.", "Write a mask without pixels as an RLE object.")
        return tuple(mask for mask in parsed if mask is not None)


def read_json(path: Path) -> Any:
    return _guarded(path, lambda: json.loads(path.read_text(encoding="utf-8")))


def read_entries(path: Path) -> list[Entry]:
    """A folder of JSON files (by name, an object or a list each), a JSON Lines file, or one JSON file.

    An object that wraps one other object under a key of its own, as the released code writes it, stands for the inner.
    """
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise InvalidInput(str(path), "The folder holds no .json file.", "Name the folder with the predictions.")
        return [entry for file in files for entry in _of_document(file, read_json(file), file.stem)]
    if path.suffix == ".jsonl":
        lines = _guarded(path, lambda: path.read_text(encoding="utf-8")).splitlines()
        numbered = [(n, line) for n, line in enumerate(lines, start=1) if line.strip()]
        return [_entry(f"{path} line {n}", _parse(path, n, line), None) for n, line in numbered]
    return _of_document(path, read_json(path), None)


def coco_entries(path: Path) -> list[Entry]:
    """The annotations of a COCO file, see `annotated`; or the entries of a plain file."""
    document = read_json(path) if path.is_file() else None
    if not isinstance(document, dict) or "annotations" not in document:
        return read_entries(path)
    return annotated(path, document)


def annotated(path: Path, document: Mapping[str, Any]) -> list[Entry]:
    """The annotations of a file in COCO's form, with the members of their image joined in."""
    images = {image.get("id"): image for image in objects(path, document, "images")}
    found = []
    for n, annotation in enumerate(objects(path, document, "annotations")):
        image = images.get(annotation.get("image_id"), {})
        joined = {name: value for name, value in image.items() if name != "id"} | dict(annotation)
        found.append(Entry(f"{path} annotations[{n}]", joined))
    return found


def objects(path: Path, document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A member that must be a list of objects; absent is empty."""
    value = document.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise InvalidInput(str(path), f"{name} is not a list of objects.", "Write the file in COCO's form.")
    return value


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _of_document(path: Path, document: object, stem: str | None) -> list[Entry]:
    if isinstance(document, list):
        return [_entry(f"{path}[{n}]", item, stem) for n, item in enumerate(document)]
    if isinstance(document, dict) and len(document) == 1:
        ((key, inner),) = document.items()
        if isinstance(inner, dict):
            return [_entry(str(path), {"image_id": key} | inner, stem)]
    return [_entry(str(path), document, stem)]


def _entry(place: str, data: object, stem: str | None) -> Entry:
    if not isinstance(data, dict):
        raise InvalidInput(place, "This is not a JSON object.", 'Write each entry as {"image_id": …, …}.')
    return Entry(place, data, stem)


def _parse(path: Path, number: int, line: str) -> object:
    return _guarded(Path(f"{path} line {number}"), lambda: json.loads(line))


def _guarded(path: Path, read: Callable[[], Value]) -> Value:
    try:
        return read()
    except FileNotFoundError:
        raise InvalidInput(str(path), "There is no such file.", "Check the path.") from None
    except OSError as error:
        raise InvalidInput(str(path), f"It cannot be read: {error.strerror}.", "Check the path.") from None
    except UnicodeDecodeError:
        raise InvalidInput(str(path), "It is not UTF-8 text.", "Name a JSON file.") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(
            str(path), f"It is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.", "Repair the file."
        ) from None
