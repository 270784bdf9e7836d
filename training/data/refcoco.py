"""RefCOCO, RefCOCO+ and RefCOCOg as conversations; `references` has the form of their files."""

from abc import abstractmethod
from collections import defaultdict
from pathlib import Path

from numpy.random import Generator

from training.data import templates
from training.data.records import picture
from training.data.references import Refcoco, Referred
from training.data.sample import Dataset, Sample, Turn
from training.data.segmentation import CocoMask

MOST_TURNS = 3
"""Objects of one picture that a conversation is about, at most."""


class _Objects(Dataset):
    """The referred objects of a split, picture by picture."""

    def __init__(self, references: Path, instances: Path, images: Path, split: str = "train") -> None:
        self.source = references
        refcoco = Refcoco.read(references, instances)
        names = {
            image.id: picture(images, image.file_name, instances, index, "images.file_name")
            for index, image in enumerate(refcoco.found.images)
        }
        by_picture: dict[int, list[Referred]] = defaultdict(list)
        for referred in refcoco.objects(split):
            by_picture[referred.image.id].append(referred)
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
        return Turn(templates.referring(expression, rng), answer, masks=(CocoMask((referred.instance.segmentation,)),))


class RegionDescriptions(_Objects):
    """Each turn asks for the words about a box."""

    def _turn(self, referred: Referred, expression: str, rng: Generator) -> Turn:
        x, y, width, height = referred.instance.bbox
        return Turn(templates.usual(templates.REGION, rng), expression, boxes=((x, y, x + width, y + height),))
