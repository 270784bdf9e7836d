"""Run lengths row by row, which Label Studio and CVAT build on. COCO's go column by column."""

import numpy as np

from shared.masks import Mask, Rle, decode


def runs(mask: Mask) -> list[int]:
    """(h, w) bool → lengths of runs that alternate, the first of them outside: 0 where the first pixel is inside."""
    flat = mask.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths: list[int] = np.diff(changes, prepend=0, append=flat.size).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def cropped(rle: Rle) -> tuple[Mask, int, int]:
    """The mask inside its tight box, and the box's left and top. The mask must have pixels."""
    mask = decode(rle)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return mask[top : rows[-1] + 1, left : columns[-1] + 1], left, top
