"""Referring segmentation: one expression, one mask or none, against the true one."""

from collections.abc import Iterable
from dataclasses import dataclass

from pycocotools import mask as coco

from shared.masks import Rle
from training.metrics.rle import coded


@dataclass(frozen=True)
class ReferringScores:
    """ciou: all intersections over all unions; giou: the mean IoU; precision_50: the share with an IoU of 0.5 up."""

    ciou: float
    giou: float
    precision_50: float


def referring_scores(pairs: Iterable[tuple[Rle | None, Rle | None]]) -> ReferringScores:
    """(found, wanted) an expression; None and a mask without pixels both say that nothing is there.

    Nothing found where nothing is counts as an IoU of 1, and adds nothing to cIoU.
    """
    areas = [_areas(found, wanted) for found, wanted in pairs]
    ious = [shared / both if both else 1.0 for shared, both in areas]
    union = sum(both for _, both in areas)
    return ReferringScores(
        ciou=sum(shared for shared, _ in areas) / union if union else 1.0,
        giou=sum(ious) / len(ious),
        precision_50=sum(iou >= 0.5 for iou in ious) / len(ious),
    )


def _areas(found: Rle | None, wanted: Rle | None) -> tuple[int, int]:
    """Pixels in both, pixels in either."""
    masks = [coded(mask) for mask in (found, wanted) if mask is not None]
    shared = int(coco.area(coco.merge(masks, intersect=True))) if len(masks) == 2 else 0
    return shared, sum(int(coco.area(mask)) for mask in masks) - shared
