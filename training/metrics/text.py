"""Captions of images or of regions: the files of their ground truth and predictions."""

from dataclasses import dataclass
from pathlib import Path

from shared.errors import InvalidInput
from training.metrics.caption_scores import Captioned
from training.metrics.categories import words
from training.metrics.entries import Entry, coco_entries, read_entries

Key = tuple[str, str]
"""An image, and a region of it, empty where the caption is of the whole image or the region is an image of its own."""


@dataclass(frozen=True)
class Captions:
    """A set of captions with their references, in the ground truth's order.

    categorized: (said, category) of those whose ground truth tells what category they are of.
    missing: how many had no prediction, which count as empty.
    """

    captions: tuple[Captioned, ...]
    categorized: tuple[tuple[str, str], ...]
    missing: int


def read_captions(predictions: Path, truth: Path) -> Captions:
    """truth: COCO's caption file, or a plain list; predictions: see `entries.read_entries`.

    Entries are told apart by their image and, where they have one, `region_id`.
    """
    references: dict[Key, list[str]] = {}
    categories: dict[Key, str] = {}
    for entry in coco_entries(truth):
        told = entry.texts("captions") or (entry.text("caption"),)
        references.setdefault(key_of(entry), []).extend(told)
        if (category := _category(entry)) is not None and categories.setdefault(key_of(entry), category) != category:
            raise entry.wrong(f"It is called {categories[key_of(entry)]!r} elsewhere, too.", "Give it one category.")
    said: dict[Key, str] = {}
    for entry in read_entries(predictions):
        key = key_of(entry)
        name = " region ".join(part for part in key if part)
        if key not in references:
            raise entry.wrong(f"Image {name} is not in the ground truth.", "Name predictions and truth of one split.")
        if key in said:
            raise entry.wrong(f"Image {name} has a second prediction.", "Keep one.")
        said[key] = entry.text("caption")
    if not references:
        raise InvalidInput(str(truth), "It has no captions.", "Name a file in COCO's caption form.")
    return Captions(
        tuple(Captioned(said.get(key, ""), tuple(texts)) for key, texts in references.items()),
        tuple((said.get(key, ""), category) for key, category in categories.items()),
        missing=len(references.keys() - said.keys()),
    )


def _category(entry: Entry) -> str | None:
    if entry.data.get("category") is None:
        return None
    category = entry.text("category")
    if not words(category):
        raise entry.wrong("category has no word.", "Write a noun, or leave it out.")
    return category


def key_of(entry: Entry) -> Key:
    """What tells captions apart: entries of one key are references of one caption."""
    return entry.image, entry.key("region_id") if "region_id" in entry.data else ""
