"""Masks against true masks: the overlap of each with each, average precision, and the mean IoU of pairs."""

import io
from collections.abc import Hashable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from shared.masks import Rle
from training.metrics.rle import coded

Overlaps = npt.NDArray[np.float64]
ImageId = TypeVar("ImageId", bound=Hashable)


@dataclass(frozen=True)
class Precision:
    """ap: averaged over IoU thresholds 0.50 to 0.95; ap50: at 0.50."""

    ap: float
    ap50: float


def overlaps(found: Sequence[Rle], wanted: Sequence[Rle]) -> Overlaps:
    """(found, wanted): the IoU of each with each, 0 between empty masks."""
    if not found or not wanted:
        return np.zeros((len(found), len(wanted)))
    return np.asarray(coco.iou([coded(m) for m in found], [coded(m) for m in wanted], [0] * len(wanted)))


def paired_iou(ious: Overlaps) -> float:
    """One image's mIoU by the paper's protocol: the best pair first, one to one, the mean over pairs that overlap.

    Masks without a partner do not lower it; 0 where nothing overlaps.
    """
    left, paired = ious.copy(), []
    while left.size and left.max() > 0:
        row, column = np.unravel_index(left.argmax(), left.shape)
        paired.append(float(left[row, column]))
        left[row, :] = left[:, column] = 0
    return float(np.mean(paired)) if paired else 0.0


def average_precision(found: Mapping[ImageId, Sequence[Rle]], wanted: Mapping[ImageId, Sequence[Rle]]) -> Precision:
    """COCO's, of masks of one category that all have the score 1: of equal scores the earlier image's come first.

    wanted: every image of the set, in the order that counts, with one mask at least among all of them.
    """
    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco(list(wanted), wanted), _coco(list(wanted), found), "segm")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, -1]
    return Precision(ap=float(precision.mean()), ap50=float(precision[0].mean()))


def _coco(images: Sequence[ImageId], masks: Mapping[ImageId, Sequence[Rle]]) -> Any:
    annotations = [
        {"image_id": number, "category_id": 1, "segmentation": coded(mask), "iscrowd": 0, "score": 1.0}
        for number, image in enumerate(images)
        for mask in masks.get(image, ())
    ]
    for number, annotation in enumerate(annotations, start=1):
        annotation |= {"id": number, "area": float(coco.area(annotation["segmentation"]))}
    made = COCO()
    made.dataset = {
        # The masks bring their sizes along; pycocotools only wants to see the names.
        "images": [{"id": number, "height": 0, "width": 0} for number in range(len(images))],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "mask"}],
    }
    made.createIndex()
    return made
