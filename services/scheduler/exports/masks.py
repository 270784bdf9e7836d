"""Masks as PNG files, with an index: a line of JSON for each."""

from collections.abc import Iterable
from typing import IO, Any

from services.scheduler.exports.archive import Archive
from services.scheduler.exports.records import ExportedJob
from services.scheduler.exports.scratch import Scratch
from services.scheduler.exports.spool import Index, Spool, to_json
from shared.jobs import Phrase
from shared.masks import to_png


def write(jobs: Iterable[ExportedJob], out: IO[bytes], scratch: Scratch) -> None:
    with Archive(out, scratch) as archive:
        index, lines = Index(scratch), Spool(scratch)
        for job in jobs:
            index.add(job)
            for n, phrase in enumerate(job.result.phrases):
                file = f"masks/{job.id}/{n}.png"
                # PNG is packed already.
                archive.add(file, to_png(phrase.rle, optimize=False), compress=False)
                lines.write(to_json(_line(file, job, n, phrase)) + b"\n")
        with archive.entry("masks.jsonl") as entry:
            lines.copy_to(entry)
        with archive.entry(Index.NAME) as entry:
            index.copy_to(entry)


def _line(file: str, job: ExportedJob, n: int, phrase: Phrase) -> dict[str, Any]:
    return {
        "file": file,
        "file_name": job.image.file_name,
        "sha256": job.image.id,
        "job_id": str(job.id),
        "custom_id": job.custom_id,
        "task": job.ask.task.value,
        "n": n,
        "text": phrase.text,
        "span": phrase.span,
        "answer": job.result.text,
        "box": phrase.box,
        "area": phrase.area,
        "score": phrase.score,
    }
