"""The files of RefCOCO, RefCOCO+ and RefCOCOg: expressions for objects of COCO's pictures.

A folder holds `refs(SPLIT_BY).p`, a pickled list of {`ann_id`, `image_id`, `split`, `sentences`: [{`sent`}]}, and
`instances.json` in COCO's form with the pictures' names and the objects' boxes and masks.
"""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field

from training.data.records import checked, load
from training.data.sample import DataError
from training.data.segmentation import Segmentation

INSTANCES = "instances.json"


class Image(BaseModel):
    """height and width: in pixels, where the file tells them."""

    id: int
    file_name: str
    height: int | None = None
    width: int | None = None


class Instance(BaseModel):
    """bbox: x, y, width and height in pixels."""

    id: int
    bbox: tuple[float, float, float, float]
    segmentation: Segmentation


class Instances(BaseModel):
    images: list[Image]
    annotations: list[Instance]


class Sentence(BaseModel):
    sent: Annotated[str, Field(min_length=1)]


class Reference(BaseModel):
    ann_id: int
    image_id: int
    split: str
    sentences: Annotated[list[Sentence], Field(min_length=1)]


@dataclass(frozen=True)
class Referred:
    """An object and what it is called. index: of its record among the references."""

    index: int
    image: Image
    instance: Instance
    expressions: tuple[str, ...]


class _Plain(pickle.Unpickler):
    """Reads lists, dictionaries, strings and numbers; a pickle that names any class or function is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and references are plain data")


@dataclass(frozen=True)
class Refcoco:
    """The two files of a set, read, with their paths."""

    references: Path
    instances: Path
    records: list[Reference]
    found: Instances

    @classmethod
    def read(cls, references: Path, instances: Path) -> Self:
        """Raises DataError where a file is missing, is not in its form, or a record in it is wrong."""
        found = checked(instances, load(instances), Instances)
        return cls(references, instances, _records(references), found)

    def splits(self) -> list[str]:
        """What splits there are, by name."""
        return sorted({record.split for record in self.records})

    def objects(self, split: str) -> Iterator[Referred]:
        """The referred objects of a split, in the order of their records. Raises DataError for one of nothing."""
        images = {image.id: image for image in self.found.images}
        instances = {instance.id: instance for instance in self.found.annotations}
        for index, record in enumerate(self.records):
            if record.split != split:
                continue
            if record.image_id not in images:
                raise self._dangling(index, "image_id", f"image {record.image_id}")
            if record.ann_id not in instances:
                raise self._dangling(index, "ann_id", f"annotation {record.ann_id}")
            expressions = tuple(sentence.sent for sentence in record.sentences)
            yield Referred(index, images[record.image_id], instances[record.ann_id], expressions)

    def _dangling(self, index: int, field: str, what: str) -> DataError:
        return DataError(self.references, index, field, f"{self.instances} has no {what}")


def _records(path: Path) -> list[Reference]:
    try:
        with path.open("rb") as file:
            # Written by Python 2: its byte strings are text.
            content = _Plain(file, encoding="latin1").load()
    except OSError as error:
        raise DataError(path, None, None, error.strerror or str(error)) from error
    except Exception as error:  # of a damaged pickle nearly every kind
        raise DataError(path, None, None, f"is no pickled list of references: {error}") from error
    return checked(path, content, list[Reference])
