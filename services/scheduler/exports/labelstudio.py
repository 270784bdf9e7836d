"""Label Studio: each image a task, each job a prediction with brush masks, their words and the whole answer."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import IO, Any

from services.scheduler.exports.archive import Archive, Sink
from services.scheduler.exports.records import ExportedImage, ExportedJob
from services.scheduler.exports.runs import runs
from services.scheduler.exports.scratch import Scratch
from services.scheduler.exports.spool import Index, JsonList, to_json
from shared.jobs import Phrase
from shared.masks import Rle, decode
from shared.tasks import Box, Task

LOCAL_FILES = "/data/local-files/?d="
"""The URL under which Label Studio shows a local folder."""

LABELING = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="mask" toName="image"><Label value="phrase"/></BrushLabels>
  <RectangleLabels name="box" toName="image"><Label value="region"/></RectangleLabels>
  <TextArea name="words" toName="image" perRegion="true" editable="true"/>
  <TextArea name="text" toName="image" editable="true"/>
</View>
"""
"""The labelling configuration of the project. One label serves for all phrases: each would have to be declared."""

_SIZES = (3, 4, 8, 16)
"""Bits of the four kinds of run lengths."""


def write(jobs: Iterable[ExportedJob], out: IO[bytes], scratch: Scratch) -> None:
    """jobs: those of one image follow each other."""
    with Archive(out, scratch) as archive:
        index = Index(scratch)
        archive.add("labeling.xml", LABELING.encode())
        with archive.entry("tasks.json") as entry:
            before = b"["
            for image, on_image in groupby(jobs, key=lambda job: job.image):
                entry.write(before)
                _write_task(entry, image, on_image, index)
                before = b",\n"
            entry.write(b"[]" if before == b"[" else b"]")
        with archive.entry(Index.NAME) as entry:
            index.copy_to(entry)


def _write_task(entry: Sink, image: ExportedImage, jobs: Iterable[ExportedJob], index: Index) -> None:
    data = {"image": LOCAL_FILES + image.file_name, "sha256": image.id}
    entry.write(b'{"data":' + to_json(data) + b',"predictions":')
    predictions = JsonList(entry)
    for job in jobs:
        index.add(job)
        predictions.add(_prediction(job))
    predictions.end()
    entry.write(b"}")


def _prediction(job: ExportedJob) -> dict[str, Any]:
    prediction: dict[str, Any] = {"model_version": job.result.fingerprint, "result": list(_results(job))}
    if job.masks:
        prediction["score"] = sum(phrase.score for _, phrase in job.masks) / len(job.masks)
    return prediction


def _results(job: ExportedJob) -> Iterator[dict[str, Any]]:
    size = {"original_width": job.image.width, "original_height": job.image.height, "image_rotation": 0}
    for n, phrase in job.masks:
        region = {"id": f"{job.id}-{n}", "to_name": "image", **size}
        yield region | _mask(phrase)
        if phrase.text is not None:
            yield region | _words(phrase.text)
    for n, (box, text) in enumerate(job.regions):
        region = {"id": f"{job.id}-box-{n}", "to_name": "image", **size}
        yield region | _box(box, job.image)
        yield region | _words(text)
    said = _whole(job)
    if said is not None:
        whole = {"id": f"{job.id}-text", "to_name": "image"}
        yield whole | {"from_name": "text", "type": "textarea", "value": {"text": [said]}}


def _whole(job: ExportedJob) -> str | None:
    """What belongs to the whole image: a caption, or a question with its answer."""
    if job.ask.task is Task.VQA:
        return f"{job.ask.prompt}\n{job.result.text}"
    return job.caption


def _mask(phrase: Phrase) -> dict[str, Any]:
    value = {"format": "rle", "rle": list(brush(phrase.rle)), "brushlabels": ["phrase"]}
    return {"from_name": "mask", "type": "brushlabels", "value": value, "score": phrase.score}


def _words(text: str) -> dict[str, Any]:
    return {"from_name": "words", "type": "textarea", "value": {"text": [text]}}


def _box(box: Box, image: ExportedImage) -> dict[str, Any]:
    """Label Studio counts in hundredths of the image's sides."""
    x1, y1, x2, y2 = box
    across, down = 100 / image.width, 100 / image.height
    place = {"x": x1 * across, "y": y1 * down, "width": (x2 - x1) * across, "height": (y2 - y1) * down}
    value = {**place, "rotation": 0, "rectanglelabels": ["region"]}
    return {"from_name": "box", "type": "rectanglelabels", "value": value}


def brush(rle: Rle) -> bytes:
    """The mask in the run-length form of Label Studio's brush.

    It packs the bytes of an RGBA picture, row by row, here all four of a pixel 255 inside and 0 outside: how many bytes
    there are (32 bits), how many bits each has, less one (5), the bits of the four kinds of lengths, less one (4 each);
    then for each run a 1, the kind of its length (2), the length less one, and the byte.
    """
    parts = [f"{4 * rle.height * rle.width:032b}{8 - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    byte = 0
    for pixels in runs(decode(rle)):
        left = 4 * pixels
        kind = next((kind for kind, size in enumerate(_SIZES) if left <= 1 << size), len(_SIZES) - 1)
        while left:
            length = min(left, 1 << _SIZES[kind])
            parts.append(f"1{kind:02b}{length - 1:0{_SIZES[kind]}b}{byte:08b}")
            left -= length
        byte ^= 255
    bits = "".join(parts)
    # One byte more than needed where none is: so does Label Studio's own encoder.
    bits += "0" * (8 - len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8)
