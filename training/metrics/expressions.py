"""Referring segmentation's files: an expression and its mask an entry, in the ground truth and in predictions."""

from dataclasses import dataclass
from pathlib import Path

from shared.masks import Rle
from training.metrics import pairing
from training.metrics.entries import Entry
from training.metrics.rle import BadMaskError, union


@dataclass(frozen=True)
class Referred:
    """What an expression refers to; no mask where nothing does. size: (height, width) of the image, if it is known."""

    mask: Rle | None
    size: tuple[int, int] | None


def read_pairs(predictions: Path, truth: Path) -> tuple[list[tuple[Rle | None, Rle | None]], int]:
    """(found, wanted) of every expression of the ground truth; and how many had no prediction, which count as empty.

    See `pairing.read_pairs` for an expression that stands several times in one image.
    """
    pairs, missing = pairing.read_pairs(_FORM, predictions, truth)
    return [(found, referred.mask) for found, referred in pairs], missing


def _referred(entry: Entry) -> Referred:
    size = None
    match entry.data.get("height"), entry.data.get("width"):
        case int(height), int(width):
            size = (height, width)
    mask = entry.mask(entry.data.get("segmentation"), "segmentation", size)
    return Referred(mask, size if mask is None else (mask.height, mask.width))


def _found(entry: Entry, referred: Referred) -> Rle | None:
    if "pred_masks" not in entry.data:
        return entry.mask(entry.data.get("segmentation"), "segmentation", referred.size)
    masks = entry.masks("pred_masks", referred.size)
    try:
        return union(masks) if masks else None
    except BadMaskError as error:
        raise entry.wrong(f"pred_masks {error}.", "Write masks at the size of the original image.") from None


def _key(entry: Entry) -> pairing.Key:
    """An image and an expression of it, in lower case without outer blanks."""
    return entry.image, " ".join(entry.text("expression", "sentence").lower().split())


_FORM = pairing.Form[Referred, Rle | None]("expression", _key, _referred, _found, nothing=None)
