"""Referring segmentation's files: an expression and its mask an entry, in the ground truth and in predictions.

The ground truth may also be a split of RefCOCO, RefCOCO+ or RefCOCOg in their own files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import InvalidInput
from shared.masks import Rle
from training.data.references import INSTANCES, Refcoco, Referred
from training.metrics import pairing
from training.metrics.entries import Entry, coco_entries
from training.metrics.rle import BadMaskError, union

_OF_THE_PAPER = {"refs(unc).p", "refs(umd).p"}
"""What the released code reads: unc of RefCOCO and RefCOCO+, umd of RefCOCOg. Their folders hold another, google's."""


@dataclass(frozen=True)
class Meant:
    """What an expression refers to; no mask where nothing does. size: (height, width) of the image, if it is known."""

    mask: Rle | None
    size: tuple[int, int] | None


def read_truth(path: Path, split: str | None = None) -> list[Entry]:
    """An expression each. path: a JSON file, or of RefCOCO the folder or its `refs(….p)`, which needs the split."""
    references = _references(path)
    if references is not None:
        return _of_refcoco(references, split)
    if split is not None:
        raise InvalidInput("--split", f"{path} has no splits.", "Leave it out, or name a folder of RefCOCO.")
    return coco_entries(path)


def read_pairs(
    predictions: Path, truth: Path, split: str | None = None
) -> tuple[list[tuple[Rle | None, Rle | None]], int]:
    """(found, wanted) of every expression of the ground truth; and how many had no prediction, which count as empty.

    See `read_truth` for truth and split, `pairing.read_pairs` for an expression that stands several times in one image.
    """
    pairs, missing = pairing.read_pairs(_FORM, predictions, truth, read_truth(truth, split))
    return [(found, meant.mask) for found, meant in pairs], missing


def _references(path: Path) -> Path | None:
    """The file with RefCOCO's references, None where the path is no such set."""
    if path.suffix == ".p":
        return path
    there = sorted(path.glob("refs(*).p"))
    chosen = [file for file in there if file.name in _OF_THE_PAPER] or there
    if len(chosen) > 1:
        raise InvalidInput(str(path), f"It holds {' and '.join(file.name for file in chosen)}.", "Name one of them.")
    return chosen[0] if chosen else None


def _of_refcoco(references: Path, split: str | None) -> list[Entry]:
    refcoco = Refcoco.read(references, references.with_name(INSTANCES))
    splits = refcoco.splits()
    if split is None or split not in splits:
        raise InvalidInput("--split", f"{references} has these splits: {', '.join(splits)}.", "Name one of them.")
    return [
        Entry(f"{references}[{referred.index}]", _entry(referred, expression))
        for referred in refcoco.objects(split)
        for expression in referred.expressions
    ]


def _entry(referred: Referred, expression: str) -> dict[str, Any]:
    image, segmentation = referred.image, referred.instance.segmentation
    return {
        "image_id": image.id,
        "file_name": image.file_name,
        "height": image.height,
        "width": image.width,
        "expression": expression,
        "segmentation": segmentation if isinstance(segmentation, list) else segmentation.model_dump(),
    }


def _meant(entry: Entry) -> Meant:
    size = None
    match entry.data.get("height"), entry.data.get("width"):
        case int(height), int(width):
            size = (height, width)
    mask = entry.mask(entry.data.get("segmentation"), "segmentation", size)
    return Meant(mask, size if mask is None else (mask.height, mask.width))


def _found(entry: Entry, meant: Meant) -> Rle | None:
    if "pred_masks" not in entry.data:
        return entry.mask(entry.data.get("segmentation"), "segmentation", meant.size)
    masks = entry.masks("pred_masks", meant.size)
    try:
        return union(masks) if masks else None
    except BadMaskError as error:
        raise entry.wrong(f"pred_masks {error}.", "Write masks at the size of the original image.") from None


def _key(entry: Entry) -> pairing.Key:
    """An image and an expression of it, in lower case without outer blanks."""
    return entry.image, " ".join(entry.text("expression", "sentence").lower().split())


_FORM = pairing.Form[Meant, Rle | None]("expression", _key, _meant, _found, nothing=None)
