"""Which phrases count as found: by pixels and by words, best pair first, until the first that fails."""

import numpy as np

from training.metrics.recall import phrases_found

SAME = np.ones((3, 3))


def ious(*diagonal: float) -> np.ndarray:
    return np.diag(diagonal)


def test_pairs_count_down_to_an_iou_of_a_half():
    assert phrases_found(ious(0.9, 0.5, 0.49), SAME) == 2


def test_the_first_pair_with_the_wrong_words_ends_the_count():
    words = SAME.copy()
    words[1, 1] = 0.4
    # By IoU: 0.9 with the right words, then 0.8 with wrong ones; 0.7 would be right, and is lost.
    assert phrases_found(ious(0.9, 0.8, 0.7), words) == 1
    # Last in line it costs only itself.
    assert phrases_found(ious(0.9, 0.6, 0.7), words) == 2


def test_a_mask_is_paired_once():
    both = np.array([[0.9, 0.8]])
    assert phrases_found(both, np.ones((1, 2))) == 1


def test_no_masks_no_phrases():
    assert phrases_found(np.zeros((0, 2)), np.zeros((0, 2))) == 0
    assert phrases_found(np.zeros((2, 2)), np.ones((2, 2))) == 0
