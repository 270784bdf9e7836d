"""The figures of an evaluation on worked examples."""

import numpy as np
import pytest

from shared import masks
from shared.masks import Mask
from shared.stages.glamm import Annotation
from shared.stages.pixel import GroundedPhrase
from training.evaluate import score
from training.scenes.language import GroundedCaption, Phrase


def rows(first: int, last: int) -> Mask:
    """Some rows of a 10 × 10 image."""
    mask = np.zeros((10, 10), bool)
    mask[first:last] = True
    return mask


def said(text: str, mask: Mask) -> GroundedPhrase:
    return GroundedPhrase(text, None, masks.encode(mask), masks.box_of(mask), masks.area(mask), 1.0)


TRUTH = GroundedCaption(
    "A dog, in front of snow.", (Phrase("A dog", 0, 5, rows(0, 4)), Phrase("snow", 19, 23, rows(4, 10)))
)


def test_a_perfect_answer_scores_one() -> None:
    answer = Annotation(TRUTH.text, "", (said("A dog", rows(0, 4)), said("snow", rows(4, 10))))
    found = score(answer, TRUTH)
    assert found.phrase_iou == (1.0, 1.0)
    assert found.object_iou == (1.0,)
    assert found.paired_iou == 1.0
    assert found.exact


def test_a_right_mask_under_wrong_words_counts_for_the_pairing_alone() -> None:
    answer = Annotation("A cat, in front of snow.", "", (said("A cat", rows(0, 4)), said("Snow", rows(4, 8))))
    found = score(answer, TRUTH)
    assert found.phrase_iou == (0.0, pytest.approx(4 / 6))
    assert found.paired_iou == pytest.approx((1 + 4 / 6) / 2)
    assert not found.exact
