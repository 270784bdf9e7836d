"""The forms in which COCO's files and their relatives keep a mask."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco
from pydantic import BaseModel, Field

from shared.masks import Mask

Polygon = Annotated[list[float], Field(min_length=6)]


class Rle(BaseModel):
    """Run lengths: `counts` compressed to a string, or a plain list. size: (height, width)."""

    size: tuple[int, int]
    counts: str | list[int]


Segmentation = Annotated[list[Polygon], Field(min_length=1)] | Rle


@dataclass(frozen=True)
class CocoMask:
    """The union of polygons and run lengths, as `MaskSource`."""

    pieces: tuple[Segmentation, ...]

    def decode(self, height: int, width: int) -> Mask:
        coded = list[dict[str, Any]]()
        for piece in self.pieces:
            if isinstance(piece, Rle):
                coded.append(_run_lengths(piece, height, width))
            else:
                coded.extend(coco.frPyObjects(piece, height, width))
        return np.asarray(coco.decode(coco.merge(coded)), dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class MadeMask:
    """A mask that is there already, as `MaskSource`."""

    mask: Mask

    def decode(self, height: int, width: int) -> Mask:
        if self.mask.shape != (height, width):
            raise ValueError(f"the mask is {self.mask.shape[1]} × {self.mask.shape[0]} pixels, its picture not")
        return self.mask


@dataclass(frozen=True)
class LabelMask:
    """The pixels of a label picture that have one of its values, as `MaskSource`."""

    path: Path
    label: int

    def decode(self, height: int, width: int) -> Mask:
        labels = read_labels(self.path)
        if labels.shape != (height, width):
            raise ValueError(f"{self.path} is {labels.shape[1]} × {labels.shape[0]} pixels, its picture not")
        return np.asarray(labels == self.label)


def read_labels(path: Path) -> np.ndarray:
    """(h, w) label numbers of an 8- or 16-bit picture of one channel."""
    with Image.open(path) as picture:
        return np.asarray(picture)


def _run_lengths(rle: Rle, height: int, width: int) -> dict[str, Any]:
    if rle.size != (height, width):
        raise ValueError(f"the mask is {rle.size[1]} × {rle.size[0]} pixels, the picture {width} × {height}")
    if isinstance(rle.counts, str):
        return {"size": [height, width], "counts": rle.counts.encode("ascii")}
    if sum(rle.counts) != height * width:
        raise ValueError(f"the mask's run lengths add up to {sum(rle.counts)}, not to {width} × {height} pixels")
    made: dict[str, Any] = coco.frPyObjects({"size": [height, width], "counts": rle.counts}, height, width)
    return made
