"""GranD-f: grounded captions as the trainer reads them, and as ground truth of `glamm evaluate gcg`.

`annotations.json` has the form of GranD-f's human-annotated file, `gcg/` that of the reference's evaluation. That knows
two splits by name, and takes one caption an image: a second one has an image of its own, of the same file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import IO, Any

from services.scheduler.exports.archive import Archive
from services.scheduler.exports.records import ExportedJob
from services.scheduler.exports.scratch import Scratch
from services.scheduler.exports.spool import Index, JsonSpool, write_object
from shared.jobs import Phrase
from shared.masks import Rle
from shared.tasks import Task

SPLIT = "val"
"""In the names of the evaluation's files."""

_GROUNDED = frozenset({Task.GCG, Task.GROUND})


def write(jobs: Iterable[ExportedJob], out: IO[bytes], scratch: Scratch) -> None:
    """jobs: those of one image follow each other."""
    index = Index(scratch)
    annotations, images, masks, captions = (JsonSpool(scratch) for _ in range(4))
    n_masks = n_captions = 0
    for image, on_image in groupby(jobs, key=lambda job: job.image):
        captioned = 0
        for job in on_image:
            index.add(job)
            caption, phrases = _grounded(job)
            if not phrases:
                continue
            captioned += 1
            image_id = image.id if captioned == 1 else f"{image.id}-{captioned}"
            size = {"height": image.height, "width": image.width}
            images.add({"id": image_id, "file_name": image.file_name} | size)
            annotations.add({"file_name": image.file_name, "caption": caption, "groundings": _groundings(phrases)})
            labels = [phrase.text for phrase in phrases]
            captions.add({"id": n_captions, "image_id": image_id, "caption": caption, "labels": labels})
            n_captions += 1
            for phrase in phrases:
                masks.add(_instance(n_masks, image_id, phrase))
                n_masks += 1
    with Archive(out, scratch) as archive:
        with archive.entry("annotations.json") as entry:
            annotations.copy_to(entry)
        with archive.entry(f"gcg/{SPLIT}_gcg_coco_mask_gt.json") as entry:
            one = [{"id": 1, "name": "phrase"}]
            write_object(entry, {"images": images, "annotations": masks, "categories": one})
        with archive.entry(f"gcg/{SPLIT}_gcg_coco_caption_gt.json") as entry:
            write_object(entry, {"images": images, "annotations": captions})
        with archive.entry(Index.NAME) as entry:
            index.copy_to(entry)


def _grounded(job: ExportedJob) -> tuple[str, list[Phrase]]:
    """The caption, and its phrases that have words of it and pixels, with spans in it.

    Readers of the form take quotation marks and blanks off a caption's ends before they count, so here they are off.
    """
    text = caption = job.result.text
    while (shorter := caption.strip('"').strip()) != caption:
        caption = shorter
    if job.ask.task not in _GROUNDED:
        return caption, []
    offset = text.find(caption)
    phrases = []
    for _, phrase in job.masks:
        if phrase.span is None:
            continue
        start, end = phrase.span[0] - offset, phrase.span[1] - offset
        if 0 <= start < end <= len(caption):
            phrases.append(replace(phrase, text=caption[start:end], span=(start, end)))
    return caption, phrases


def _groundings(phrases: Sequence[Phrase]) -> dict[str, Any]:
    """By phrase. The form has one entry for each wording, so that a second `a dog` is called `a dog #2`."""
    found: dict[str, Any] = {}
    for phrase in phrases:
        name, n = str(phrase.text), 1
        while name in found:
            n += 1
            name = f"{phrase.text} #{n}"
        found[name] = {"token_positives": phrase.span, "rle_masks": [_rle(phrase.rle)]}
    return found


def _instance(number: int, image_id: str, phrase: Phrase) -> dict[str, Any]:
    assert phrase.box is not None  # it has pixels
    x1, y1, x2, y2 = phrase.box
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "segmentation": _rle(phrase.rle),
        "area": phrase.area,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "iscrowd": 0,
    }


def _rle(rle: Rle) -> dict[str, Any]:
    return {"size": [rle.height, rle.width], "counts": rle.counts}
