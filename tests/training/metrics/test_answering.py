"""What is taken for the same answer, and what is not."""

import pytest

from training.metrics.answering import Question, answering_scores, normalized, right


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Two.", "2"),
        ("none", "Zero."),
        ("Ten", "10"),
        (" On  the left. ", "on left"),
        ("A dog", "the dog."),
        ("An apple and a dog.", "apple and dog"),
        ("YES.", "yes"),
    ],
)
def test_the_same_answer(one, other):
    assert normalized(one) == normalized(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dog", "dogs"),
        ("Two dogs", "two"),
        ("yes, it is", "yes"),
        ("eleven", "11"),
        ("No", "none"),
        ("a", "the"),
        ("A.", ""),
    ],
)
def test_another_answer(one, other):
    assert normalized(one) != normalized(other)


def test_any_of_several_answers_is_right_and_none_is_not():
    assert right("the left", ["Left.", "right"])
    assert not right("", ["a", "the"])


def test_accuracy_is_told_by_kind():
    scores = answering_scores(
        [("2", Question(("two",), "how_many")), ("3", Question(("two",), "how_many")), ("x", Question(("x",)))]
    )
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.by_kind == {"how_many": 0.5}
