"""How well a checkpoint captions and segments scenes it never saw, by the same stages that the service runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shared import masks
from shared.masks import Mask
from shared.stages.glamm import Annotation, Glamm, Request
from training.metrics.masks import overlaps, paired_iou
from training.scenes.compose import Scene, scene
from training.scenes.language import GroundedCaption, grounded_caption

BATCH = 8


@dataclass(frozen=True)
class SceneScore:
    """One scene's figures.

    phrase_iou: for every true phrase the IoU of the mask that the model ties to the very same words, 0 where it says
    no such phrase; object_iou: the same without the background; paired_iou: the mean over masks paired greedily by
    their IoU whatever their words, as the paper's mIoU has it; exact: the caption is the true one, word for word.
    """

    phrase_iou: tuple[float, ...]
    object_iou: tuple[float, ...]
    paired_iou: float
    exact: bool


@dataclass(frozen=True)
class Report:
    scenes: int
    phrases: int
    phrase_miou: float
    object_miou: float
    paired_miou: float
    phrases_named: float
    captions_exact: float


def score(annotation: Annotation, truth: GroundedCaption) -> SceneScore:
    """Phrases are matched by their words, in lower case; a phrase said twice is matched in order."""
    (answer,) = annotation.answers
    found = [masks.decode(phrase.rle) for phrase in answer.phrases]
    said: dict[str, list[Mask]] = {}
    for phrase, mask in zip(answer.phrases, found, strict=True):
        said.setdefault((phrase.text or "").lower(), []).append(mask)
    ious = []
    for wanted in truth.phrases:
        same_words = said.get(wanted.text.lower())
        ious.append(masks.iou(same_words.pop(0), wanted.mask) if same_words else 0.0)
    return SceneScore(
        phrase_iou=tuple(ious),
        object_iou=tuple(ious[:-1]),
        paired_iou=paired_iou(
            overlaps([phrase.rle for phrase in answer.phrases], [masks.encode(one.mask) for one in truth.phrases])
        ),
        exact=answer.text == truth.text,
    )


def evaluate(glamm: Glamm, count: int, first: int = 0) -> Report:
    """GCG on the `count` test scenes from number `first` on."""
    scores = []
    for batch in _batches([scene(number, "test") for number in range(first, first + count)]):
        requests = [Request(Image.fromarray(made.image)) for made in batch]
        for made, annotation in zip(batch, glamm.annotate_batch(requests), strict=True):
            scores.append(score(annotation, grounded_caption(made)))
    ious = [iou for item in scores for iou in item.phrase_iou]
    return Report(
        scenes=len(scores),
        phrases=len(ious),
        phrase_miou=round(float(np.mean(ious)), 4),
        object_miou=round(float(np.mean([iou for item in scores for iou in item.object_iou])), 4),
        paired_miou=round(float(np.mean([item.paired_iou for item in scores])), 4),
        phrases_named=round(float(np.mean([iou > 0 for iou in ious])), 4),
        captions_exact=round(float(np.mean([item.exact for item in scores])), 4),
    )


def _batches(scenes: Sequence[Scene]) -> Iterator[Sequence[Scene]]:
    for start in range(0, len(scenes), BATCH):
        yield scenes[start : start + BATCH]
