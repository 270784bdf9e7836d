"""RefCOCO, RefCOCO+ and RefCOCOg: expressions for objects of COCO's pictures.

A folder holds `refs(SPLIT_BY).p`, a pickled list of {`ann_id`, `image_id`, `split`, `sentences`: [{`sent`}]}, and
`instances.json` in COCO's form with the pictures' names and the objects' boxes and masks.
"""

import pickle
from abc import abstractmethod
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from numpy.random import Generator
from pydantic import BaseModel, Field

from shared.masks import Box
from training.data import templates
from training.data.records import checked, load, picture
from training.data.sample import DataError, Dataset, Sample, Turn
from training.data.segmentation import CocoMask, Segmentation

MOST_TURNS = 3
"""Objects of one picture that a conversation is about, at most."""


class Image(BaseModel):
    id: int
    file_name: str


class Instance(BaseModel):
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
    """One object. index: of its record among the references."""

    index: int
    expressions: tuple[str, ...]
    mask: CocoMask
    box: Box


class _Plain(pickle.Unpickler):
    """Reads lists, dictionaries, strings and numbers; a pickle that names any class or function is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and references are plain data")


def read_references(path: Path) -> list[Reference]:
    """Raises DataError where the file is missing, no plain pickle, or a record is wrong."""
    try:
        with path.open("rb") as file:
            # Written by Python 2: its byte strings are text.
            content = _Plain(file, encoding="latin1").load()
    except OSError as error:
        raise DataError(path, None, None, error.strerror or str(error)) from error
    except (pickle.UnpicklingError, EOFError, ValueError, AttributeError, IndexError, KeyError) as error:
        raise DataError(path, None, None, f"is no pickled list of references: {error}") from error
    return checked(path, content, list[Reference])


class _Objects(Dataset):
    """The referred objects of a split, picture by picture."""

    def __init__(self, references: Path, instances: Path, images: Path, split: str = "train") -> None:
        self.source = references
        found = checked(instances, load(instances), Instances)
        names = {
            image.id: picture(images, image.file_name, instances, index, "images.file_name")
            for index, image in enumerate(found.images)
        }
        objects = {instance.id: instance for instance in found.annotations}
        by_picture: dict[int, list[Referred]] = defaultdict(list)
        for index, reference in enumerate(read_references(references)):
            if reference.split != split:
                continue
            if reference.image_id not in names:
                raise DataError(references, index, "image_id", f"{instances} has no image {reference.image_id}")
            if reference.ann_id not in objects:
                raise DataError(references, index, "ann_id", f"{instances} has no annotation {reference.ann_id}")
            instance = objects[reference.ann_id]
            x, y, width, height = instance.bbox
            expressions = tuple(sentence.sent for sentence in reference.sentences)
            referred = Referred(index, expressions, CocoMask((instance.segmentation,)), (x, y, x + width, y + height))
            by_picture[reference.image_id].append(referred)
        self._pictures = [(names[image], tuple(objects)) for image, objects in by_picture.items()]

    def __len__(self) -> int:
        return len(self._pictures)

    def sample(self, index: int, rng: Generator) -> Sample:
        path, objects = self._pictures[index]
        count = int(rng.integers(1, min(MOST_TURNS, len(objects)) + 1))
        chosen = [objects[each] for each in rng.permutation(len(objects))[:count]]
        turns = tuple(self._turn(one, templates.choose(one.expressions, rng), rng) for one in chosen)
        return Sample(path, turns, self.source, chosen[0].index)

    @abstractmethod
    def _turn(self, referred: Referred, expression: str, rng: Generator) -> Turn:
        """What is asked of one object and answered."""


class ReferringSegmentation(_Objects):
    """Each turn asks for the mask of an expression."""

    def _turn(self, referred: Referred, expression: str, rng: Generator) -> Turn:
        answer = templates.usual(templates.SEGMENTED, rng)
        return Turn(templates.referring(expression, rng), answer, masks=(referred.mask,))


class RegionDescriptions(_Objects):
    """Each turn asks for the words about a box."""

    def _turn(self, referred: Referred, expression: str, rng: Generator) -> Turn:
        return Turn(templates.usual(templates.REGION, rng), expression, boxes=(referred.box,))
