"""Average precision and mIoU of masks that are rows of a 10 × 10 image, worked out by hand."""

import numpy as np
import pytest

from shared import masks
from shared.masks import Rle
from training.metrics.masks import average_precision, overlaps, paired_iou


def rows(first: int, last: int) -> Rle:
    mask = np.zeros((10, 10), bool)
    mask[first:last] = True
    return masks.encode(mask)


def test_overlaps_are_of_each_found_with_each_wanted():
    assert overlaps([rows(0, 4), rows(5, 10)], [rows(0, 5), rows(4, 8), rows(0, 0)]) == pytest.approx(
        np.array([[4 / 5, 0, 0], [0, 3 / 6, 0]])
    )
    assert overlaps([], [rows(0, 5)]).shape == (0, 1)


def test_pairs_are_taken_best_first_and_only_where_masks_overlap():
    # The first mask overlaps both truths, 4/5 and 1/10 (row 4 of 0..5 and 4..10); it may take only the better one.
    assert paired_iou(overlaps([rows(0, 5)], [rows(0, 4), rows(4, 10)])) == pytest.approx(4 / 5)
    assert paired_iou(overlaps([rows(0, 5), rows(4, 9)], [rows(0, 4), rows(4, 10)])) == pytest.approx(
        (4 / 5 + 5 / 6) / 2
    )
    assert paired_iou(overlaps([rows(0, 2)], [rows(5, 7)])) == 0.0
    assert paired_iou(overlaps([], [rows(5, 7)])) == 0.0


def test_precision_of_masks_that_are_all_as_sure():
    # Three truths. In image order: a hit, then a miss. A recall of 1/3 is reached at a precision of 1: of COCO's 101
    # points of recall the 34 up to 0.33 have precision 1, the others 0.
    wanted = {"1": [rows(0, 4), rows(6, 9)], "2": [rows(0, 4)]}
    found = average_precision({"1": [rows(0, 4)], "2": [rows(5, 9)]}, wanted)
    assert (found.ap50, found.ap) == pytest.approx((34 / 101, 34 / 101))
    # The miss first: the precision at 1/3 is 1/2.
    found = average_precision({"1": [rows(4, 6)], "2": [rows(0, 4)]}, wanted)
    assert found.ap50 == pytest.approx(34 / 101 / 2)


def test_precision_over_thresholds():
    # An IoU of 5/8 = 0.625 passes at 0.50, 0.55 and 0.60: 3 of 10 thresholds.
    found = average_precision({"1": [rows(0, 5)]}, {"1": [rows(0, 8)]})
    assert found.ap50 == pytest.approx(1)
    assert found.ap == pytest.approx(3 / 10)


def test_a_second_mask_on_the_same_truth_is_a_miss():
    # Both truths' worth of recall is never reached: 1/2 at precision 1 (51 points, 0.00 to 0.50), then nothing.
    found = average_precision({"1": [rows(0, 4), rows(0, 4)]}, {"1": [rows(0, 4), rows(6, 9)]})
    assert found.ap50 == pytest.approx(51 / 101)


def test_nothing_found_scores_nothing():
    assert average_precision({}, {"1": [rows(0, 4)]}).ap == 0.0
