"""Grounded conversation generation: the files of its ground truth and predictions, and all its scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.errors import InvalidInput
from shared.masks import Rle
from training.metrics.caption_scores import Captioned, CaptionScores, caption_scores
from training.metrics.entries import Entry, annotated, read_entries, read_json
from training.metrics.masks import Precision, average_precision, overlaps, paired_iou
from training.metrics.progress import Track, unwatched
from training.metrics.recall import phrases_found
from training.metrics.similarity import Similarity

_MASKS, _CAPTIONS = "_gcg_coco_mask_gt.json", "_gcg_coco_caption_gt.json"


@dataclass(frozen=True)
class Truth:
    """One image of the set. The n-th phrase names the n-th mask; size: (height, width), None where no mask tells it."""

    captions: tuple[str, ...]
    phrases: tuple[str, ...]
    masks: tuple[Rle, ...]
    size: tuple[int, int] | None


@dataclass(frozen=True)
class Prediction:
    """What was said of an image; a mask without a phrase has no words, a phrase without a mask no pixels."""

    caption: str = ""
    phrases: tuple[str, ...] = ()
    masks: tuple[Rle, ...] = ()


@dataclass(frozen=True)
class GcgScores:
    """miou: mean over images of the IoU of paired masks; recall: true phrases found in words and pixels, of all."""

    captions: CaptionScores
    precision: Precision
    miou: float
    recall: float


def gcg_scores(
    truths: Mapping[str, Truth], predictions: Mapping[str, Prediction], similarity: Similarity, track: Track = unwatched
) -> GcgScores:
    """An image without a prediction counts as one of which nothing was said."""
    said = {image: predictions.get(image, Prediction()) for image in truths}
    ious, found = [], 0
    for image, truth in track(list(truths.items()), "masks"):
        overlap = overlaps(said[image].masks, truth.masks)
        ious.append(paired_iou(overlap))
        named = similarity.between(
            _a_phrase_each(said[image].phrases, said[image].masks), _a_phrase_each(truth.phrases, truth.masks)
        )
        found += phrases_found(overlap, named)
    return GcgScores(
        captions=caption_scores([Captioned(said[key].caption, truth.captions) for key, truth in truths.items()], track),
        precision=average_precision(
            {key: one.masks for key, one in said.items()}, {key: truth.masks for key, truth in truths.items()}
        ),
        miou=float(np.mean(ious)),
        recall=found / sum(len(truth.phrases) for truth in truths.values()),
    )


def _a_phrase_each(phrases: Sequence[str], masks: Sequence[Rle]) -> list[str]:
    return [*phrases, *[""] * len(masks)][: len(masks)]


def read_truth(path: Path, split: str | None = None) -> dict[str, Truth]:
    """A GranD-f split, by image id, in the order in which COCO's evaluation takes images.

    path: a folder with `SPLIT_gcg_coco_mask_gt.json` and `SPLIT_gcg_coco_caption_gt.json`, or one of the two files.
    """
    masks_file, captions_file = (_file(path, split, suffix) for suffix in (_MASKS, _CAPTIONS))
    masks: dict[str, list[Rle]] = {}
    for entry in _annotations(masks_file):
        there = masks.setdefault(entry.key("image_id"), [])
        mask = entry.mask(entry.data.get("segmentation"), "segmentation", _size(there))
        if mask is None:
            raise entry.wrong("segmentation is empty.", "Leave annotations without a mask out.")
        there.append(mask)
    captions: dict[str, list[Entry]] = {}
    for entry in _annotations(captions_file):
        captions.setdefault(entry.key("image_id"), []).append(entry)
    truths = {}
    for image in sorted(masks.keys() | captions.keys(), key=_numbers_as_numbers):
        if image not in captions:
            raise InvalidInput(
                str(captions_file), f"Image {image} has masks and no caption.", "Name files of one split."
            )
        truths[image] = Truth(
            captions=tuple(entry.text("caption") for entry in captions[image]),
            phrases=tuple(phrase for entry in captions[image] for phrase in entry.texts("labels")),
            masks=tuple(masks.get(image, ())),
            size=_size(masks.get(image, ())),
        )
    if not any(truth.phrases for truth in truths.values()) or not masks:
        raise InvalidInput(str(masks_file.parent), "No image has masks and phrases.", "Name a split of GranD-f.")
    return truths


def read_captions(path: Path, split: str | None = None) -> list[Entry]:
    """A GranD-f split's captions as they stand in its file, one or more an image. path: as `read_truth` takes it."""
    return _annotations(_file(path, split, _CAPTIONS))


def read_predictions(path: Path, truths: Mapping[str, Truth]) -> tuple[dict[str, Prediction], int]:
    """Those of the images of the ground truth; and how many are of others, which are left out.

    path: a folder with a JSON file an image, or one file of all; see `entries.read_entries`. The images of GranD-f's
    splits lie in one folder, so predictions of both may, too. Raises InvalidInput where none is of the ground truth.
    """
    found: dict[str, Prediction] = {}
    entries = read_entries(path)
    outside = 0
    for entry in entries:
        image = _known_image(entry, truths)
        if image is None:
            outside += 1
            continue
        if image in found:
            raise entry.wrong(f"Image {image} has a second prediction.", "Keep one.")
        found[image] = Prediction(
            caption=entry.text("caption"),
            phrases=entry.texts("phrases"),
            masks=entry.masks("pred_masks", truths[image].size),
        )
    if outside and not found:
        raise entries[0].wrong(
            f"Image {entries[0].image} is not in the ground truth, nor is any other.",
            "Name predictions and ground truth of one split.",
        )
    return found, outside


def _known_image(entry: Entry, truths: Mapping[str, object]) -> str | None:
    """The entry's image as the ground truth calls it. An ending such as `.jpg` may follow it in the entry."""
    said = entry.image
    return next((name for name in (said, Path(said).stem) if name in truths), None)


def _file(path: Path, split: str | None, ending: str) -> Path:
    prefix = _prefix(path, split)
    return prefix.with_name(prefix.name + ending)


def _prefix(path: Path, split: str | None) -> Path:
    """The path of a split's files up to their endings."""
    if path.is_dir():
        names = {file.name.removesuffix(_MASKS) for file in path.glob(f"*{_MASKS}")}
        if split is None and len(names) == 1:
            (split,) = names
        if split is None or split not in names:
            there = ", ".join(sorted(names)) or "none"
            raise InvalidInput("--split", f"{path} has these splits: {there}.", f"Name one with a file SPLIT{_MASKS}.")
        return path / split
    if not path.exists():
        raise InvalidInput(str(path), "There is no such file or folder.", "Check the path.")
    for suffix in (_MASKS, _CAPTIONS):
        if path.name.endswith(suffix):
            prefix = path.with_name(path.name.removesuffix(suffix))
            if split not in (None, prefix.name):
                raise InvalidInput("--split", f"{path} is of the split {prefix.name}.", "Leave it out, or name that.")
            return prefix
    raise InvalidInput(str(path), "This is no ground truth of GCG.", f"Name a folder with a file SPLIT{_MASKS}.")


def _annotations(path: Path) -> list[Entry]:
    document = read_json(path)
    if not isinstance(document, dict) or "annotations" not in document:
        raise InvalidInput(str(path), "It has no annotations.", "Write the file in COCO's form.")
    return annotated(path, document)


def _size(masks: Sequence[Rle]) -> tuple[int, int] | None:
    return (masks[0].height, masks[0].width) if masks else None


def _numbers_as_numbers(image: str) -> tuple[bool, int, str]:
    return (False, int(image), image) if image.isdecimal() else (True, 0, image)
