"""The weights in the repository know scenes they never saw: far from chance, if below what docs/model.md reports."""

import numpy as np
import pytest
from PIL import Image

from shared.masks import encode
from shared.settings import SHIPPED_CHECKPOINT
from shared.stages.glamm import Glamm, Request
from shared.tasks import Ask, Task
from training.language.captions import gcg
from training.language.world import usage
from training.metrics.masks import overlaps, paired_iou
from training.scenes.compose import scene
from training.scenes.scene import Scene

SCENES = 16


@pytest.fixture(scope="module")
def glamm() -> Glamm:
    return Glamm.load(SHIPPED_CHECKPOINT)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(number, "test") for number in range(SCENES)]


def test_captions_name_what_is_there_and_masks_cover_it(glamm: Glamm, scenes: list[Scene]) -> None:
    found = glamm.annotate_batch([Request(Image.fromarray(made.image)) for made in scenes])
    ious, named, things = [], 0, 0
    for made, annotation in zip(scenes, found, strict=True):
        said = gcg(made, usage("test"), np.random.default_rng(0))
        masks = [phrase.rle for answer in annotation.answers for phrase in answer.phrases]
        ious.append(paired_iou(overlaps(masks, [encode(phrase.mask) for phrase in said.phrases])))
        text = annotation.answers[0].text.lower()
        named += sum(thing.category in text for thing in made.objects)
        things += len(made.objects)
    assert np.mean(ious) > 0.75
    assert named / things > 0.85


def test_regions_are_named(glamm: Glamm, scenes: list[Scene]) -> None:
    asks = [Ask(Task.REGION_CAPTION, boxes=tuple(thing.box for thing in made.objects)) for made in scenes]
    found = glamm.annotate_batch(
        [Request(Image.fromarray(made.image), ask) for made, ask in zip(scenes, asks, strict=True)]
    )
    right = [
        thing.category in answer.text
        for made, annotation in zip(scenes, found, strict=True)
        for thing, answer in zip(made.objects, annotation.answers, strict=True)
    ]
    assert np.mean(right) > 0.85
