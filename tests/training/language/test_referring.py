"""A referring expression fits what its mask shows and nothing else."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.training.language.reading import USAGE, fitting, the_one
from training.data import templates
from training.language.referring import Referring, refseg
from training.language.world import usage
from training.scenes.scene import Scene


@pytest.fixture(scope="module")
def referred(scenes: list[Scene]) -> list[tuple[Scene, Referring]]:
    pairs = []
    for number, scene in enumerate(scenes):
        rng = np.random.default_rng([number, 11])
        pairs += [(scene, refseg(scene, USAGE, rng)) for _ in range(6)]
    return pairs


def of_kind(pairs: list[tuple[Scene, Referring]], kind: str) -> list[tuple[Scene, Referring]]:
    found = [(scene, one) for scene, one in pairs if one.kind == kind]
    assert len(found) > 50
    return found


def test_a_unique_expression_fits_one_thing(referred: list[tuple[Scene, Referring]]) -> None:
    for scene, one in of_kind(referred, "unique"):
        index = the_one(scene, one.expression)
        assert one.mask is scene.objects[index].mask
        assert one.about == index


def test_an_ambiguous_expression_means_all_that_it_fits(referred: list[tuple[Scene, Referring]]) -> None:
    for scene, one in of_kind(referred, "ambiguous"):
        members = fitting(scene, one.expression)
        assert len(members) > 1
        assert members == fitting(scene, one.expression, generous=True)
        assert one.mask is not None
        assert np.array_equal(one.mask, np.logical_or.reduce([scene.objects[index].mask for index in members]))


def test_an_absent_expression_fits_nothing(referred: list[tuple[Scene, Referring]]) -> None:
    hard = 0
    for scene, one in of_kind(referred, "absent"):
        name = one.expression.removeprefix("the ")
        assert one.answer == templates.ABSENT.format(expression=name)
        assert one.mask is None
        if any(name == background.removeprefix("a ").removeprefix("an ") for background in USAGE.backgrounds):
            assert name not in scene.background
            continue
        assert not fitting(scene, one.expression, generous=True), one.expression
        hard += any(thing.category in name for thing in scene.objects)
    assert hard > 50


def test_the_background_is_what_no_thing_covers(referred: list[tuple[Scene, Referring]]) -> None:
    for scene, one in of_kind(referred, "background"):
        assert one.mask is scene.background_mask
        name = scene.background.removeprefix("a ").removeprefix("an ")
        assert one.expression in ("the background", f"the {name}")


def test_every_answer_has_as_many_marks_as_masks(referred: list[tuple[Scene, Referring]]) -> None:
    assert all(one.answer.count("[SEG]") == (one.mask is not None) for _, one in referred)


def test_a_fifth_is_absent(referred: list[tuple[Scene, Referring]]) -> None:
    counts = Counter(one.kind for _, one in referred)
    assert 0.15 < counts["absent"] / counts.total() < 0.25


def test_in_practice_it_is_more(scenes: list[Scene]) -> None:
    practice = replace(USAGE, practice=True)
    kinds = Counter(
        refseg(scene, practice, np.random.default_rng([number, 3])).kind for number, scene in enumerate(scenes)
    )
    assert 0.3 < kinds["absent"] / kinds.total() < 0.5
    assert usage("train").practice
    assert not usage("test").practice
    assert not usage("compositional").practice
