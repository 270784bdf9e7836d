"""Reading a JSON file into typed records, with errors that say where in the file something is wrong."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from training.data.sample import DataError

Record = TypeVar("Record")


def read_list(path: Path, record: type[Record]) -> list[Record]:
    """A JSON list of records. Raises DataError naming file, index and field of the first that is not one."""
    return checked(path, load(path), list[record])  # type: ignore[valid-type]


def load(path: Path) -> Any:
    """A JSON file's content. Raises DataError where it is missing or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(path, None, None, error.strerror or str(error)) from error
    except ValueError as error:
        raise DataError(path, None, None, f"is not JSON: {error}") from error


def checked(path: Path, content: Any, form: type[Record]) -> Record:
    """The content in the form. Raises DataError naming the field, and the index of the record that it is in."""
    try:
        return TypeAdapter(form).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        parts = list(first["loc"])
        # The index is the first number on the way: `[3].caption` in a list, `annotations[3].bbox` in COCO's form.
        at = next((place for place, part in enumerate(parts) if isinstance(part, int)), None)
        index = None if at is None else int(parts.pop(at))
        field = ".".join(str(part) for part in parts) or None
        raise DataError(path, index, field, first["msg"]) from error


def picture(folder: Path, name: str, source: Path, index: int, field: str) -> Path:
    """The picture's path. Raises DataError where its name leads out of the folder."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not name:
        raise DataError(source, index, field, f"{name!r} is no file name inside the folder of pictures")
    return folder / path
