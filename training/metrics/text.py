"""Captions of images or of regions: the files of their ground truth and predictions."""

from pathlib import Path

from shared.errors import InvalidInput
from training.metrics.caption_scores import Captioned
from training.metrics.entries import Entry, coco_entries, read_entries

Key = tuple[str, str]
"""An image, and a region of it, empty where the caption is of the whole image or the region is an image of its own."""


def read_captions(predictions: Path, truth: Path) -> tuple[list[Captioned], int]:
    """Each caption with its references, in the ground truth's order; and how many were missing, which count as empty.

    truth: COCO's caption file, or a plain list; predictions: see `entries.read_entries`. Entries are told apart by
    their `image_id` and, where they have one, `region_id`.
    """
    references: dict[Key, list[str]] = {}
    for entry in coco_entries(truth):
        told = entry.texts("captions") or (entry.text("caption"),)
        references.setdefault(_key(entry), []).extend(told)
    said: dict[Key, str] = {}
    for entry in read_entries(predictions):
        key = _key(entry)
        name = " region ".join(part for part in key if part)
        if key not in references:
            raise entry.wrong(f"Image {name} is not in the ground truth.", "Name predictions and truth of one split.")
        if key in said:
            raise entry.wrong(f"Image {name} has a second prediction.", "Keep one.")
        said[key] = entry.text("caption")
    if not references:
        raise InvalidInput(str(truth), "It has no captions.", "Name a file in COCO's caption form.")
    found = [Captioned(said.get(key, ""), tuple(texts)) for key, texts in references.items()]
    return found, len(references.keys() - said.keys())


def _key(entry: Entry) -> Key:
    return entry.image, entry.key("region_id") if "region_id" in entry.data else ""
