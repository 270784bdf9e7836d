"""COCO: instances with run-length masks, and captions in the form of COCO's caption files.

Descriptions of regions and answers to questions have files of their own, in the forms that `glamm evaluate` reads: in
COCO's caption file a line about a corner of the image, or "Yes.", would pass for a description of all of it.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import IO, Any

from services.scheduler.exports.archive import Archive
from services.scheduler.exports.names import Names, category
from services.scheduler.exports.records import ExportedImage, ExportedJob
from services.scheduler.exports.scratch import Scratch
from services.scheduler.exports.spool import Index, JsonSpool, write_object
from shared.jobs import Phrase
from shared.tasks import Box, Task

_INFO = {"description": "Annotations made by GLaMM"}


def write(jobs: Iterable[ExportedJob], out: IO[bytes], scratch: Scratch) -> None:
    """jobs: those of one image follow each other."""
    names = Names(scratch)
    index = Index(scratch)
    images, instances, captions, regions, questions, categories = (JsonSpool(scratch) for _ in range(6))
    masks = said = described = asked = 0
    for image_id, (image, on_image) in enumerate(groupby(jobs, key=lambda job: job.image), start=1):
        images.add(_image(image_id, image))
        for job in on_image:
            index.add(job)
            made_by = {"job_id": str(job.id), "custom_id": job.custom_id}
            for _, phrase in job.masks:
                masks += 1
                number = names.number(category(phrase.text)) + 1
                instances.add(_instance(masks, image_id, number, phrase) | made_by)
            if job.caption is not None:
                said += 1
                captions.add({"id": said, "image_id": image_id, "caption": job.caption} | made_by)
            for n, (box, text) in enumerate(job.regions):
                described += 1
                region = {"region_id": n, "bbox": _xywh(box), "caption": text}
                regions.add({"id": described, "image_id": image_id} | region | made_by)
            if job.ask.task is Task.VQA:
                asked += 1
                questions.add({"id": asked, "image_id": image_id, "question_id": asked} | _question(job) | made_by)
    for number, name in names:
        categories.add({"id": number + 1, "name": name, "supercategory": ""})
    with Archive(out, scratch) as archive:
        shared = {"info": _INFO, "licenses": [], "images": images}
        with archive.entry("annotations/instances.json") as entry:
            write_object(entry, shared | {"annotations": instances, "categories": categories})
        for name, spool in (("captions", captions), ("regions", regions), ("questions", questions)):
            with archive.entry(f"annotations/{name}.json") as entry:
                write_object(entry, shared | {"annotations": spool})
        with archive.entry(Index.NAME) as entry:
            index.copy_to(entry)


def _image(number: int, image: ExportedImage) -> dict[str, Any]:
    size = {"width": image.width, "height": image.height}
    return {"id": number, "file_name": image.file_name, **size, "sha256": image.id}


def _instance(number: int, image_id: int, category_id: int, phrase: Phrase) -> dict[str, Any]:
    assert phrase.box is not None  # it has pixels
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": {"size": [phrase.rle.height, phrase.rle.width], "counts": phrase.rle.counts},
        "area": phrase.area,
        "bbox": _xywh(phrase.box),
        "iscrowd": 0,
        "score": phrase.score,
        "phrase": phrase.text,
    }


def _question(job: ExportedJob) -> dict[str, Any]:
    """bbox: what is asked about; null without a box, and with several, which the evaluation's form cannot tell."""
    boxes = job.ask.boxes
    box = _xywh(boxes[0]) if len(boxes) == 1 else None
    return {"question": job.ask.prompt, "bbox": box, "answer": job.result.text}


def _xywh(box: Box) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]
