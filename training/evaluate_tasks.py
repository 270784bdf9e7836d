"""How well a checkpoint does the tasks besides grounded captions, on scenes that it never saw."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shared import masks
from shared.masks import Mask
from shared.stages.glamm import Annotation, Glamm, Request
from shared.stages.pixel import GroundedAnswer
from shared.tasks import Ask, Task
from training.scenes.compose import Scene, scene
from training.scenes.language import ground, refseg, region_caption, vqa

BATCH = 8
QUESTIONS = 3
"""Questions about each scene, drawn from its number."""


@dataclass(frozen=True)
class TaskReport:
    """refseg_miou: over expressions that name something; refseg_absent_refused: share of the others without a mask.

    region_category: share of descriptions that name the category; vqa_exact: of answers that are right word for word;
    ground_miou: over the phrases of a given caption, whose places are given too.
    """

    refseg_miou: float
    refseg_absent_refused: float
    region_category: float
    vqa_exact: float
    ground_miou: float


def evaluate_tasks(glamm: Glamm, count: int, first: int = 0) -> TaskReport:
    """The `count` test scenes from number `first` on, each asked several things."""
    scenes = [(scene(number, "test"), number) for number in range(first, first + count)]
    named, refused = _refseg(glamm, scenes)
    return TaskReport(
        refseg_miou=_mean(named),
        refseg_absent_refused=_mean(refused),
        region_category=_mean(_regions(glamm, scenes)),
        vqa_exact=_mean(_questions(glamm, scenes)),
        ground_miou=_mean(_grounding(glamm, scenes)),
    )


Numbered = Sequence[tuple[Scene, int]]


def _refseg(glamm: Glamm, scenes: Numbered) -> tuple[list[float], list[float]]:
    samples = [[refseg(made, rng) for _ in range(QUESTIONS)] for made, rng in _each(scenes, Task.REFSEG)]
    asks = [Ask(Task.REFSEG, expressions=tuple(sample.expression for sample in asked)) for asked in samples]
    named, refused = [], []
    for asked, answers in zip(samples, _answers(glamm, scenes, asks), strict=True):
        for sample, answer in zip(asked, answers, strict=True):
            if sample.mask is None:
                refused.append(float(not answer.phrases))
            else:
                named.append(masks.iou(_union(answer, sample.mask), sample.mask))
    return named, refused


def _regions(glamm: Glamm, scenes: Numbered) -> Iterator[float]:
    samples = [region_caption(made, rng) for made, rng in _each(scenes, Task.REGION_CAPTION)]
    asks = [Ask(Task.REGION_CAPTION, boxes=(sample.box,)) for sample in samples]
    for (made, _), sample, (answer,) in zip(scenes, samples, _answers(glamm, scenes, asks), strict=True):
        (thing,) = (thing for thing in made.objects if thing.box == sample.box)
        yield float(thing.category in answer.text.rstrip(".").split())


def _questions(glamm: Glamm, scenes: Numbered) -> Iterator[float]:
    repeated = [(made, number * QUESTIONS + index) for made, number in scenes for index in range(QUESTIONS)]
    samples = [vqa(made, rng) for made, rng in _each(repeated, Task.VQA)]
    asks = [Ask(Task.VQA, sample.question, () if sample.box is None else (sample.box,)) for sample in samples]
    for sample, (answer,) in zip(samples, _answers(glamm, repeated, asks), strict=True):
        expected = sample.answer.replace("<p> ", "").replace(" </p> [SEG]", "")
        yield float(answer.text == expected)


def _grounding(glamm: Glamm, scenes: Numbered) -> Iterator[float]:
    samples = [ground(made, rng) for made, rng in _each(scenes, Task.GROUND)]
    asks = []
    for sample in samples:
        phrases = [piece.partition(" </p>")[0] for piece in sample.answer.split("<p> ")[1:]]
        asks.append(Ask(Task.GROUND, sample.caption, phrases=tuple(phrases)))
    for sample, (answer,) in zip(samples, _answers(glamm, scenes, asks), strict=True):
        for phrase, wanted in zip(answer.phrases, sample.masks, strict=True):
            yield masks.iou(masks.decode(phrase.rle), wanted)


def _each(scenes: Numbered, task: Task) -> Iterator[tuple[Scene, np.random.Generator]]:
    """Each scene with numbers of its own for a task: the order of tasks changes nothing."""
    for made, number in scenes:
        yield made, np.random.default_rng([number, list(Task).index(task), 7])


def _answers(glamm: Glamm, scenes: Numbered, asks: Sequence[Ask]) -> Iterator[tuple[GroundedAnswer, ...]]:
    requests = [Request(Image.fromarray(made.image), ask) for (made, _), ask in zip(scenes, asks, strict=True)]
    for start in range(0, len(requests), BATCH):
        found: list[Annotation] = glamm.annotate_batch(requests[start : start + BATCH])
        yield from (annotation.answers for annotation in found)


def _union(answer: GroundedAnswer, like: Mask) -> Mask:
    found = np.zeros_like(like)
    for phrase in answer.phrases:
        found |= masks.decode(phrase.rle)
    return found


def _mean(values: Sequence[float] | Iterator[float]) -> float:
    return round(float(np.mean(list(values))), 4)
