"""Masks as polygons along the edges of their pixels, without loss."""

import numpy as np
import numpy.typing as npt

from shared.masks import Mask

Points = npt.NDArray[np.int64]


def polygon(mask: Mask) -> Points:
    """(h, w) bool → (n, 2) corners x, y of one polygon, empty for an empty mask.

    All edges of the mask's parts and of their holes are strung together by bridges, which are walked there and back and
    so enclose nothing. Filled by the even-odd rule at the centres of pixels, the polygon is the mask again.
    """
    loops = boundaries(mask)
    if not loops:
        return np.empty((0, 2), dtype=np.int64)
    whole = loops[0]
    for loop in loops[1:]:
        nearest = int(np.argmin(np.abs(whole - loop[0]).sum(axis=1)))
        whole = np.concatenate([whole[: nearest + 1], loop, loop[:1], whole[nearest:]])
    return whole


def boundaries(mask: Mask) -> list[Points]:
    """The closed lines, each (n, 2) corners x, y, that part the inside from the outside: around parts and holes alike.

    A corner is a point around which one or three of the four pixels are inside, or two that touch nowhere else; such a
    point is a corner of two lines. In a row of corners, and in a column, the first and the second are joined by an
    edge, the third and the fourth, and so on.
    """
    padded = np.pad(mask, 1)
    above, below = padded[:-1], padded[1:]
    around = above[:, :-1].astype(np.uint8) + above[:, 1:] + below[:, :-1] + below[:, 1:]
    diagonal = (around == 2) & (above[:, :-1] == below[:, 1:])
    ys, xs = np.nonzero((around % 2 == 1) | diagonal)
    twice = np.where(diagonal[ys, xs], 2, 1)
    ys, xs = np.repeat(ys, twice), np.repeat(xs, twice)
    numbers = np.arange(len(xs))
    along_row = numbers ^ 1
    by_column = np.lexsort((ys, xs))
    along_column = np.empty_like(numbers)
    along_column[by_column] = by_column[numbers ^ 1]
    return [np.stack([xs[loop], ys[loop]], axis=1) for loop in _walk(along_row.tolist(), along_column.tolist())]


def _walk(along_row: list[int], along_column: list[int]) -> list[list[int]]:
    """Every closed walk that goes along a row and along a column by turns."""
    walked = [False] * len(along_row)
    loops = []
    for first in range(len(along_row)):
        loop: list[int] = []
        corner = first
        while not walked[corner]:
            other = along_row[corner]
            walked[corner] = walked[other] = True
            loop += (corner, other)
            corner = along_column[other]
        if loop:
            loops.append(loop)
    return loops
