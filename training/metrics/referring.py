"""Referring segmentation: one expression, one mask or none, against the true one."""

from collections.abc import Iterable
from dataclasses import dataclass

from pycocotools import mask as coco

from shared.masks import Rle
from training.metrics.rle import coded


@dataclass(frozen=True)
class ReferringScores:
    """ciou: all intersections over all unions; giou: the mean IoU; precision_50: the share with an IoU of 0.5 up.

    absent_refused, present_refused: of the expressions that mean nothing in their image, and of those that mean
    something, the share that was answered without a mask; None where the set has no such expression.
    """

    ciou: float
    giou: float
    precision_50: float
    absent_refused: float | None
    present_refused: float | None


@dataclass(frozen=True)
class _Areas:
    """Pixels of one expression: found, wanted, and in both."""

    found: int
    wanted: int
    shared: int

    @property
    def union(self) -> int:
        return self.found + self.wanted - self.shared

    @property
    def iou(self) -> float:
        return self.shared / self.union if self.union else 1.0


def referring_scores(pairs: Iterable[tuple[Rle | None, Rle | None]]) -> ReferringScores:
    """(found, wanted) an expression; None and a mask without pixels both say that nothing is there.

    Nothing found where nothing is counts as an IoU of 1, and adds nothing to cIoU.
    """
    areas = [_areas(found, wanted) for found, wanted in pairs]
    union = sum(one.union for one in areas)
    return ReferringScores(
        ciou=sum(one.shared for one in areas) / union if union else 1.0,
        giou=sum(one.iou for one in areas) / len(areas),
        precision_50=sum(one.iou >= 0.5 for one in areas) / len(areas),
        absent_refused=_refused([one for one in areas if not one.wanted]),
        present_refused=_refused([one for one in areas if one.wanted]),
    )


def _refused(areas: list[_Areas]) -> float | None:
    return sum(not one.found for one in areas) / len(areas) if areas else None


def _areas(found: Rle | None, wanted: Rle | None) -> _Areas:
    masks = [coded(mask) for mask in (found, wanted) if mask is not None]
    shared = int(coco.area(coco.merge(masks, intersect=True))) if len(masks) == 2 else 0
    return _Areas(_area(found), _area(wanted), shared)


def _area(mask: Rle | None) -> int:
    return 0 if mask is None else int(coco.area(coded(mask)))
