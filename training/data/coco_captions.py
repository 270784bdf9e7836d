"""COCO's captions (`captions_train2017.json`).

An object of `images` [{`id`, `file_name`}, …] and `annotations` [{`image_id`, `caption`}, …].
"""

from pathlib import Path
from typing import Annotated

from numpy.random import Generator
from pydantic import BaseModel, StringConstraints

from training.data import templates
from training.data.records import checked, load, picture
from training.data.sample import DataError, Dataset, Sample, Turn


class Image(BaseModel):
    id: int
    file_name: str


class Caption(BaseModel):
    image_id: int
    caption: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Content(BaseModel):
    images: list[Image]
    annotations: list[Caption]


class Captions(Dataset):
    """One sample a caption, so that a picture with five is met five times as often."""

    def __init__(self, annotations: Path, images: Path) -> None:
        self.source = annotations
        content = checked(annotations, load(annotations), Content)
        names = {
            image.id: picture(images, image.file_name, annotations, index, "images.file_name")
            for index, image in enumerate(content.images)
        }
        for index, annotation in enumerate(content.annotations):
            if annotation.image_id not in names:
                raise DataError(
                    annotations, index, "annotations.image_id", f"no image has the id {annotation.image_id}"
                )
        self._records = [(names[annotation.image_id], annotation.caption) for annotation in content.annotations]

    def __len__(self) -> int:
        return len(self._records)

    def sample(self, index: int, rng: Generator) -> Sample:
        path, caption = self._records[index]
        return Sample(path, (Turn(templates.usual(templates.CAPTION, rng), caption),), self.source, index)
