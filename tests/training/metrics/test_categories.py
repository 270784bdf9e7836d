"""Which category a caption names, among those of its set."""

import pytest

from training.metrics.categories import Categories, category_accuracy

NAMES = ("truck", "fire truck", "truck driver", "glass", "glasses", "cherry", "T-shirt", "shirt", "bus", "ice cream")


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("A truck.", {"truck"}),
        ("A FIRE truck.", {"fire truck"}),
        ("A truck in front of a fire truck.", {"truck", "fire truck"}),
        # Neither of the two names is inside the other.
        ("The fire truck driver.", {"fire truck", "truck driver"}),
        ("Three trucks and two buses under cherries.", {"truck", "bus", "cherry"}),
        ("A pair of glasses.", {"glasses"}),
        ("A glass.", {"glass"}),
        ("A t-shirt.", {"T-shirt"}),
        ("A t shirt.", {"T-shirt"}),
        ("A bus's wheel and an ice-cream.", {"bus", "ice cream"}),
        ("A business of truckers on ice.", set()),
        ("", set()),
    ],
)
def test_whole_words_count_and_the_longest_name_at_a_place(caption, named):
    categories = Categories(NAMES)
    assert {name for name in NAMES if categories.named(caption, name)} == named


def test_which_name_is_the_longest_is_for_the_set_to_say():
    captions = [("a truck", "truck"), ("a fire truck", "truck")]
    assert category_accuracy(captions) == 1.0
    assert category_accuracy([*captions, ("a fire truck", "fire truck")]) == pytest.approx(2 / 3)
    assert category_accuracy([]) is None
