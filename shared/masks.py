"""Masks as they are stored and sent: COCO's compressed run-length form, with its box, area and PNG."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco

Mask = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Rle:
    """A binary mask of `height` × `width` pixels as COCO's compressed counts."""

    height: int
    width: int
    counts: str


def encode(mask: Mask) -> Rle:
    """(h, w) bool → Rle."""
    coded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return Rle(mask.shape[0], mask.shape[1], coded["counts"].decode("ascii"))


def decode(rle: Rle) -> Mask:
    """Rle → (h, w) bool."""
    coded = {"size": [rle.height, rle.width], "counts": rle.counts.encode("ascii")}
    return np.asarray(coco.decode(coded)).view(np.bool_)


def area(mask: Mask) -> int:
    return int(mask.sum())


def box_of(mask: Mask) -> Box | None:
    """The tight box, xyxy in pixels with exclusive right and bottom edges; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union; 1.0 where both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def to_png(rle: Rle, optimize: bool = True) -> bytes:
    """An 8-bit greyscale PNG of the mask's size: 255 inside, 0 outside.

    optimize: as few bytes as can be, which takes three times as long.
    """
    buffer = io.BytesIO()
    Image.fromarray(decode(rle) * np.uint8(255)).save(buffer, format="PNG", optimize=optimize)
    return buffer.getvalue()
