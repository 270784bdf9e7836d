"""Masks of files, checked: COCO's run-length forms and polygons become `Rle`s, or a reason why they cannot."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco

from shared.masks import Rle

_MOST_PIXELS = 1 << 31
"""Beyond it pycocotools' run lengths overflow."""


class BadMaskError(ValueError):
    """Why something is not a mask, as words that go on after its name."""


def parse(value: object, size: tuple[int, int] | None = None) -> Rle | None:
    """Any of COCO's forms → one mask, None where it holds no pixels to speak of: null, or an empty list.

    value: an RLE object with compressed or plain counts; or a list, of RLE objects or of polygons, which stands for
    their union. size: (height, width) of the image, needed by polygons, and what every mask's own size must be.
    """
    if value is None or value == []:
        return None
    parts: list[Any] = value if isinstance(value, list) else [value]
    if all(isinstance(part, Mapping) for part in parts):
        return union([_object(part, size) for part in parts])
    if all(isinstance(part, list) for part in parts):
        return _polygons(parts, size)
    raise BadMaskError("is neither a run-length object with size and counts nor a list of polygons")


def coded(rle: Rle) -> dict[str, Any]:
    """As pycocotools takes it."""
    return {"size": [rle.height, rle.width], "counts": rle.counts.encode("ascii")}


def union(masks: Sequence[Rle]) -> Rle:
    """Masks of one size → the pixels of any of them."""
    sizes = {(mask.height, mask.width) for mask in masks}
    if len(sizes) > 1:
        raise BadMaskError("is made of masks of different sizes")
    return masks[0] if len(masks) == 1 else _from_coded(coco.merge([coded(mask) for mask in masks]))


def _object(part: Mapping[str, Any], size: tuple[int, int] | None) -> Rle:
    match part.get("size"), part.get("counts"):
        case [int(height), int(width)], str() | list() as counts if height > 0 and width > 0:
            pixels = height * width
        case _:
            raise BadMaskError("has no size [height, width] and counts")
    runs = _runs(counts) if isinstance(counts, str) else counts
    if any(type(run) is not int for run in runs):
        raise BadMaskError("has counts that are not whole numbers")
    if pixels > _MOST_PIXELS or sum(runs) != pixels or min(runs) < 0:
        raise BadMaskError(f"has counts that do not fill its {height} × {width} pixels")
    if size is not None and (height, width) != size:
        raise BadMaskError(f"is {height} × {width} (height × width), its image {size[0]} × {size[1]}")
    if isinstance(counts, str):
        return Rle(height, width, counts)
    return _from_coded(coco.frPyObjects({"size": [height, width], "counts": counts}, height, width))


def _runs(counts: str) -> list[int]:
    """The runs of COCO's compressed counts: groups of five bits, lowest first, each run less the one two before it.

    pycocotools reads a damaged string past its end, so it must not see one.
    """
    codes = np.frombuffer(counts.encode("utf-8", "replace"), dtype=np.uint8).astype(np.int64) - 48
    if not codes.size or (codes < 0).any() or (codes > 63).any() or codes[-1] & 32:
        raise BadMaskError("has counts that are no compressed run lengths")
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    if (ends - starts).max() > 6:
        raise BadMaskError("has counts that are no compressed run lengths")
    place = np.arange(codes.size) - np.repeat(starts, ends - starts + 1)
    values = np.add.reduceat((codes & 31) << (5 * place), starts)
    values -= np.where(codes[ends] & 16, np.int64(1) << (5 * (ends - starts + 1)), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    runs: list[int] = values.tolist()
    return runs


def _polygons(polygons: list[list[Any]], size: tuple[int, int] | None) -> Rle:
    if size is None:
        raise BadMaskError("is a list of polygons of an image whose height and width are not told")
    for points in polygons:
        if len(points) < 6 or len(points) % 2 or not all(type(number) in (int, float) for number in points):
            raise BadMaskError("has a polygon that is not a list of three or more x, y pairs")
    return _from_coded(coco.merge(coco.frPyObjects(polygons, *size)))


def _from_coded(mask: Mapping[str, Any]) -> Rle:
    height, width = mask["size"]
    return Rle(height, width, mask["counts"].decode("ascii"))
