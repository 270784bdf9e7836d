"""Referring segmentation's files: an expression and its mask an entry, in the ground truth and in predictions."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shared.errors import InvalidInput
from shared.masks import Rle
from training.metrics.entries import Entry, coco_entries, read_entries
from training.metrics.rle import BadMaskError, union

Key = tuple[str, str]
"""An image and an expression of it, in lower case without outer blanks."""


@dataclass(frozen=True)
class Referred:
    """What an expression refers to; no mask where nothing does. size: (height, width) of the image, if it is known."""

    mask: Rle | None
    size: tuple[int, int] | None


def read_pairs(predictions: Path, truth: Path) -> tuple[list[tuple[Rle | None, Rle | None]], int]:
    """(found, wanted) of every expression of the ground truth; and how many had no prediction, which count as empty.

    An expression that stands several times in one image takes its predictions in order, and the last of them again
    for those that are left.
    """
    wanted: dict[Key, list[Referred]] = {}
    for entry in coco_entries(truth):
        wanted.setdefault(_key(entry), []).append(_referred(entry))
    if not wanted:
        raise InvalidInput(str(truth), "It has no expressions.", "See docs/evaluation.md for the form.")
    found: dict[Key, list[Rle | None]] = {}
    for entry in read_entries(predictions):
        key = _key(entry)
        if key not in wanted:
            raise entry.wrong(
                f"Image {key[0]} has no expression {key[1][:60]!r} in the ground truth.",
                "Name predictions and truth of one split.",
            )
        said = found.setdefault(key, [])
        if len(said) == len(wanted[key]):
            raise entry.wrong(f"Image {key[0]} has too many predictions of {key[1][:60]!r}.", "Keep one.")
        said.append(_mask(entry, wanted[key][len(said)].size))
    missing = sum(len(there) for key, there in wanted.items() if key not in found)
    return [pair for key, there in wanted.items() for pair in _paired(found.get(key, [None]), there)], missing


def _paired(found: list[Rle | None], wanted: list[Referred]) -> Iterable[tuple[Rle | None, Rle | None]]:
    for n, referred in enumerate(wanted):
        yield found[min(n, len(found) - 1)], referred.mask


def _referred(entry: Entry) -> Referred:
    size = None
    match entry.data.get("height"), entry.data.get("width"):
        case int(height), int(width):
            size = (height, width)
    mask = entry.mask(entry.data.get("segmentation"), "segmentation", size)
    return Referred(mask, size if mask is None else (mask.height, mask.width))


def _mask(entry: Entry, size: tuple[int, int] | None) -> Rle | None:
    if "pred_masks" not in entry.data:
        return entry.mask(entry.data.get("segmentation"), "segmentation", size)
    masks = entry.masks("pred_masks", size)
    try:
        return union(masks) if masks else None
    except BadMaskError as error:
        raise entry.wrong(f"pred_masks {error}.", "Write masks at the size of the original image.") from None


def _key(entry: Entry) -> Key:
    image = entry.image if "image_id" in entry.data or "file_name" not in entry.data else entry.key("file_name")
    return image, " ".join(entry.text("expression", "sentence").lower().split())
