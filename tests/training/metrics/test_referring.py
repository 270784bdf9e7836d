"""cIoU and gIoU of masks that are rows of a 10 × 10 image, worked out by hand."""

import pytest

from tests.training.metrics.test_masks import rows
from training.metrics.referring import referring_scores


def test_large_masks_weigh_more_in_ciou_and_the_same_in_giou():
    # IoU 4/5 (40 of 50 pixels), 1/2 (10 of 20), 0 (0 of 40).
    scores = referring_scores(
        [
            (rows(0, 4), rows(0, 5)),
            (rows(0, 1), rows(0, 2)),
            (rows(0, 2), rows(5, 7)),
        ]
    )
    assert scores.ciou == pytest.approx(50 / 110)
    assert scores.giou == pytest.approx((4 / 5 + 1 / 2 + 0) / 3)
    assert scores.precision_50 == pytest.approx(2 / 3)
    assert (scores.absent_refused, scores.present_refused) == (None, 0.0)


def test_nothing_found_where_nothing_is_counts_as_right():
    # Right about nothing; a mask where nothing is; nothing where a mask is; and one right mask.
    scores = referring_scores(
        [
            (None, rows(0, 0)),
            (rows(0, 1), None),
            (None, rows(0, 1)),
            (rows(0, 2), rows(0, 2)),
        ]
    )
    assert scores.giou == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert scores.ciou == pytest.approx(20 / 40)


def test_a_set_of_absent_targets_that_were_all_left_alone():
    scores = referring_scores([(None, None)])
    assert scores.giou == scores.ciou == 1.0
    assert (scores.absent_refused, scores.present_refused) == (1.0, None)


def test_refusals_are_counted_apart_where_something_is_meant_and_where_nothing_is():
    # Nothing is meant: refused by no mask and by one without pixels, and not refused. Something is meant: refused once.
    scores = referring_scores(
        [
            (None, None),
            (rows(0, 0), rows(0, 0)),
            (rows(0, 1), None),
            (None, rows(0, 1)),
            (rows(0, 0), rows(0, 2)),
            (rows(5, 6), rows(0, 1)),
            (rows(0, 1), rows(0, 1)),
        ]
    )
    assert scores.absent_refused == pytest.approx(2 / 3)
    assert scores.present_refused == pytest.approx(2 / 4)
