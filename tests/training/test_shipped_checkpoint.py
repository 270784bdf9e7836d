"""The weights in the repository know scenes they never saw: far from chance, if below what docs/model.md reports."""

import pytest

from shared.settings import SHIPPED_CHECKPOINT
from shared.stages.glamm import Glamm
from training.evaluate import evaluate
from training.evaluate_tasks import evaluate_tasks

SCENES = 24


@pytest.fixture(scope="module")
def glamm() -> Glamm:
    return Glamm.load(SHIPPED_CHECKPOINT)


def test_captions_name_what_is_there_and_masks_cover_it(glamm: Glamm) -> None:
    found = evaluate(glamm, SCENES)
    assert found.phrase_miou > 0.5
    assert found.paired_miou > 0.75
    assert found.scenes == SCENES


def test_every_other_task_is_answered_from_the_pixels(glamm: Glamm) -> None:
    found = evaluate_tasks(glamm, SCENES)
    assert found.refseg_miou > 0.5
    assert found.ground_miou > 0.7
    assert found.region_category > 0.6
    assert found.vqa_exact > 0.4
