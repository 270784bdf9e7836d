"""Mask recall: how many of the true phrases were found, right in their words and in their pixels."""

import numpy as np

from training.metrics.masks import Overlaps

IOU, SIMILARITY = 0.5, 0.5
"""What a pair must reach in both to count."""


def phrases_found(ious: Overlaps, similarities: Overlaps) -> int:
    """One image's phrases that count, by the paper's released code. Both: (found, wanted).

    The pair of the largest IoU is taken first, one to one; the first that fails either threshold ends the count, so
    a good pair behind it is lost.
    """
    ious, count = ious.copy(), 0
    while ious.size:
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        if ious[row, column] < IOU or similarities[row, column] < SIMILARITY:
            break
        count += 1
        ious[row, :] = ious[:, column] = 0
    return count
