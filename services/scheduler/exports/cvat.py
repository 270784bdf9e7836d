"""CVAT for images 1.1: an XML file with masks in CVAT's run-length form, captions as tags, regions as boxes.

A mask is the runs inside its box, row by row, beginning outside; `left`, `top`, `width` and `height` are the box.
"""

import re
from collections.abc import Iterable
from itertools import groupby
from typing import IO
from xml.sax.saxutils import escape, quoteattr

from services.scheduler.exports.archive import Archive
from services.scheduler.exports.records import ExportedImage, ExportedJob
from services.scheduler.exports.runs import cropped, runs
from services.scheduler.exports.scratch import Scratch
from services.scheduler.exports.spool import Index, Spool, to_json
from shared.jobs import Phrase
from shared.masks import Rle
from shared.tasks import Box, Task

LABELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "phrase": ("mask", ("text", "score")),
    "region": ("rectangle", ("text",)),
    "caption": ("tag", ("text",)),
    "answer": ("tag", ("question", "text")),
}
"""By name, the type and the text attributes. Words are attributes and no labels: a task has to declare its labels."""

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(jobs: Iterable[ExportedJob], out: IO[bytes], scratch: Scratch) -> None:
    """jobs: those of one image follow each other."""
    index, body = Index(scratch), Spool(scratch)
    count = 0
    for image, on_image in groupby(jobs, key=lambda job: job.image):
        body.write(_image(count, image).encode())
        for job in on_image:
            index.add(job)
            for element in _elements(job):
                body.write(element.encode())
        body.write(b"  </image>\n")
        count += 1
    with Archive(out, scratch) as archive:
        with archive.entry("annotations.xml") as entry:
            entry.write(_head(count).encode())
            body.copy_to(entry)
            entry.write(b"</annotations>\n")
        archive.add("labels.json", to_json(_constructor()))
        with archive.entry(Index.NAME) as entry:
            index.copy_to(entry)


def _elements(job: ExportedJob) -> Iterable[str]:
    for _, phrase in job.masks:
        yield _mask(phrase)
    for box, text in job.regions:
        yield _box(box, text)
    if job.caption is not None:
        yield _element("tag", 'label="caption" source="auto"', text=job.caption)
    if job.ask.task is Task.VQA:
        yield _element("tag", 'label="answer" source="auto"', question=job.ask.prompt or "", text=job.result.text)


def _image(number: int, image: ExportedImage) -> str:
    return f'  <image id="{number}" name="{image.file_name}" width="{image.width}" height="{image.height}">\n'


def _mask(phrase: Phrase) -> str:
    place = mask_attributes(phrase.rle)
    said = f'label="phrase" source="auto" occluded="0" {place} z_order="0"'
    return _element("mask", said, text=phrase.text or "", score=f"{phrase.score:.4f}")


def mask_attributes(rle: Rle) -> str:
    """The mask's runs and box, as attributes of a `mask`. The mask must have pixels."""
    inside, left, top = cropped(rle)
    height, width = inside.shape
    lengths = ", ".join(map(str, runs(inside)))
    return f'rle="{lengths}" left="{left}" top="{top}" width="{width}" height="{height}"'


def _box(box: Box, text: str) -> str:
    x1, y1, x2, y2 = box
    corners = f'xtl="{x1:.2f}" ytl="{y1:.2f}" xbr="{x2:.2f}" ybr="{y2:.2f}"'
    return _element("box", f'label="region" source="auto" occluded="0" {corners} z_order="0"', text=text)


def _element(name: str, said: str, **attributes: str) -> str:
    inner = "".join(
        f"      <attribute name={quoteattr(key)}>{escape(_NOT_IN_XML.sub('', value))}</attribute>\n"
        for key, value in attributes.items()
    )
    return f"    <{name} {said}>\n{inner}    </{name}>\n"


def _head(images: int) -> str:
    labels = "".join(_label(name, kind, attributes) for name, (kind, attributes) in LABELS.items())
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        f"      <name>GLaMM</name>\n      <size>{images}</size>\n      <mode>annotation</mode>\n"
        f"      <labels>\n{labels}      </labels>\n    </task>\n  </meta>\n"
    )


def _label(name: str, kind: str, attributes: Iterable[str]) -> str:
    inner = "".join(
        f"<attribute><name>{attribute}</name><mutable>False</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute>"
        for attribute in attributes
    )
    return f"        <label><name>{name}</name><type>{kind}</type><attributes>{inner}</attributes></label>\n"


def _constructor() -> list[dict[str, object]]:
    """The labels in the form that CVAT's task constructor takes as raw text."""
    return [
        {
            "name": name,
            "type": kind,
            "attributes": [
                {"name": attribute, "input_type": "text", "mutable": False, "values": [""]} for attribute in attributes
            ],
        }
        for name, (kind, attributes) in LABELS.items()
    ]
