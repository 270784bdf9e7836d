"""Masks as polygons along the edges of their pixels, without loss."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from shared.masks import Mask

Points = npt.NDArray[np.int64]


def polygon(mask: Mask) -> Points:
    """(h, w) bool → (n, 2) corners x, y of one polygon, empty for an empty mask.

    All edges of the mask's parts and of their holes are strung together by bridges, which are walked there and back and
    so enclose nothing. Filled by the even-odd rule at the centres of pixels, the polygon is the mask again.
    """
    corners = _Corners(mask)
    walk = _strung(corners.loops(), corners.before)
    return np.stack([corners.xs[walk], corners.ys[walk]], axis=1)


def boundaries(mask: Mask) -> list[Points]:
    """The closed lines, each (n, 2) corners x, y, that part inside from outside: around parts and holes alike."""
    corners = _Corners(mask)
    return [np.stack([corners.xs[loop], corners.ys[loop]], axis=1) for loop in corners.loops()]


class _Corners:
    """The corners of a mask's edges, numbered row by row from the top left; xs, ys: (n,) where they are.

    A corner is a point around which one or three of the four pixels are inside, or two that touch nowhere else; such a
    point is a corner of two lines. In a row of corners, and in a column, the first and the second are joined by an
    edge, the third and the fourth, and so on.
    """

    def __init__(self, mask: Mask) -> None:
        padded = np.pad(mask, 1)
        above, below = padded[:-1], padded[1:]
        around = above[:, :-1].astype(np.uint8) + above[:, 1:] + below[:, :-1] + below[:, 1:]
        diagonal = (around == 2) & (above[:, :-1] == below[:, 1:])
        ys, xs = np.nonzero((around % 2 == 1) | diagonal)
        twice = np.where(diagonal[ys, xs], 2, 1)
        self.ys, self.xs = np.repeat(ys, twice), np.repeat(xs, twice)
        self._by_column = np.lexsort((self.ys, self.xs))
        self._in_column = np.empty_like(self._by_column)
        self._in_column[self._by_column] = np.arange(len(self.xs))

    def loops(self) -> list[list[int]]:
        """Every closed walk that goes along a row and along a column by turns, from its lowest number on."""
        numbers = np.arange(len(self.xs))
        along_row, along_column = (numbers ^ 1).tolist(), self._by_column[self._in_column ^ 1].tolist()
        walked = [False] * len(numbers)
        loops = []
        for first in range(len(numbers)):
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

    def before(self, corner: int) -> int:
        """A corner of a lower number, not the first: the one before it in its column or row, whichever is nearer."""
        left = corner - 1
        above = int(self._by_column[self._in_column[corner] - 1])
        if self._in_column[corner] == 0 or self.xs[above] != self.xs[corner]:
            return left
        across = abs(int(self.xs[left]) - int(self.xs[corner])) + int(self.ys[corner] - self.ys[left])
        return above if self.ys[corner] - self.ys[above] < across else left


def _strung(loops: Sequence[list[int]], before: Callable[[int], int]) -> list[int]:
    """One walk through all loops. Each hangs from a corner of a lower number than its own: that of another loop."""
    hanging: dict[int, list[list[int]]] = {}
    for loop in loops[1:]:
        hanging.setdefault(before(loop[0]), []).append(loop)
    walk = list[int]()
    ahead = loops[0][::-1] if loops else []
    while ahead:
        corner = ahead.pop()
        walk.append(corner)
        for loop in hanging.pop(corner, ()):
            # There, around, and back.
            ahead += (corner, loop[0], *reversed(loop))
    return walk
