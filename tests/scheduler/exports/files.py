"""What writers write and tests read."""

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import IO, Any
from uuid import UUID

import numpy as np

from services.scheduler.exports import ExportedImage, ExportedJob, Scratch
from shared import masks
from shared.jobs import Answer, Phrase, Result
from shared.masks import Mask
from shared.tasks import Ask

Write = Callable[[Iterable[ExportedJob], IO[bytes], Scratch], None]


def written(write: Write, jobs: Sequence[ExportedJob]) -> bytes:
    """The whole file; the jobs can be read once and in order, as from the database."""
    out = io.BytesIO()
    with Scratch() as scratch:
        write(iter(jobs), out, scratch)
    return out.getvalue()


def unpacked(write: Write, jobs: Sequence[ExportedJob]) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(written(write, jobs)))
    assert archive.testzip() is None
    return archive


def document(archive: zipfile.ZipFile, name: str) -> Any:
    return json.loads(archive.read(name))


def block(height: int, width: int, *boxes: tuple[int, int, int, int]) -> Mask:
    """(height, width), what is in an odd number of the boxes x1, y1, x2, y2."""
    mask = np.zeros((height, width), dtype=np.bool_)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] ^= True
    return mask


def phrase(mask: Mask, text: str | None, span: tuple[int, int] | None = None, score: float = 0.75) -> Phrase:
    return Phrase(text, span, masks.encode(mask), masks.box_of(mask), masks.area(mask), score)


def job(image: ExportedImage, line: int, ask: Ask, *answers: Answer, custom_id: str | None = None) -> ExportedJob:
    return ExportedJob(
        id=UUID(int=line),
        custom_id=custom_id,
        line=line,
        image=image,
        ask=ask,
        result=Result(answers, "weights-1"),
        finished_at=datetime(2026, 1, 31, 12, 0, line, tzinfo=UTC),
    )


def pixels(jobs: Iterable[ExportedJob]) -> list[Mask]:
    """Of every mask that is not empty, in order."""
    return [masks.decode(phrase.rle) for job in jobs for _, phrase in job.masks]
