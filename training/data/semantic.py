"""Semantic segmentation as ADE20K and COCO-Stuff keep it: a label picture beside each picture.

`labels/NAME.png` belongs to `images/NAME.jpg` (or .png); its pixels are numbers that `classes.json`, an object
{"number": "name"}, gives names to. Numbers without a name, such as 0 or 255 for "nothing", are never asked for.
"""

from pathlib import Path

from numpy.random import Generator
from PIL import UnidentifiedImageError

from training.data import templates
from training.data.records import checked, load
from training.data.sample import DataError, Dataset, Sample, Turn
from training.data.segmentation import LabelMask, read_labels

MOST_TURNS = 3
ENDINGS = (".jpg", ".jpeg", ".png")


class SemanticSegmentation(Dataset):
    """Each turn asks for a class. A picture without any named one is asked for what it does not show."""

    def __init__(self, labels: Path, images: Path, classes: Path) -> None:
        self.source = labels
        self._classes = checked(classes, load(classes), dict[int, str])
        if not self._classes:
            raise DataError(classes, None, None, "names no class")
        pictures = {path.stem: path for path in sorted(images.glob("*")) if path.suffix.lower() in ENDINGS}
        self._pairs = []
        for index, path in enumerate(sorted(labels.glob("*.png"))):
            if path.stem not in pictures:
                raise DataError(labels, index, path.name, f"{images} holds no picture of this name")
            self._pairs.append((path, pictures[path.stem]))

    def __len__(self) -> int:
        return len(self._pairs)

    def sample(self, index: int, rng: Generator) -> Sample:
        labels, image = self._pairs[index]
        try:
            present = set(read_labels(labels).ravel().tolist()) & self._classes.keys()
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(self.source, index, labels.name, f"is no readable picture: {error}") from error
        if present:
            chosen = rng.permutation(sorted(present))[:MOST_TURNS].tolist()
            turns = tuple(self._present(labels, int(label), rng) for label in chosen)
        else:
            turns = (self._absent(rng),)
        return Sample(image, turns, self.source, index)

    def _present(self, labels: Path, label: int, rng: Generator) -> Turn:
        question = templates.referring(self._classes[label], rng)
        return Turn(question, templates.usual(templates.SEGMENTED, rng), masks=(LabelMask(labels, label),))

    def _absent(self, rng: Generator) -> Turn:
        name = templates.choose(tuple(self._classes.values()), rng)
        return Turn(templates.referring(name, rng), templates.ABSENT.format(expression=name))
