"""Parquet: one row a job with everything that is known of it; answers and phrases are lists in the row."""

from collections.abc import Iterable, Iterator
from typing import IO, Any

from services.scheduler.exports.records import ExportedJob
from services.scheduler.exports.scratch import Scratch
from shared import schema

_ROWS, _MASK_BYTES = 1000, 16 << 20
"""A group of rows ends at either; it is held in memory until then."""


def write(jobs: Iterable[ExportedJob], out: IO[bytes], scratch: Scratch) -> None:
    # Here and not above: a scheduler that writes no such file does not hold the library.
    import pyarrow as pa
    from pyarrow import parquet

    form = _schema()
    with parquet.ParquetWriter(out, form, compression="zstd") as writer:
        for rows in _groups(jobs):
            writer.write_table(pa.Table.from_pylist(rows, schema=form))


def _schema() -> Any:
    import pyarrow as pa

    text, number, box = pa.string(), pa.int32(), pa.list_(pa.float64())
    mask = pa.struct({"size": pa.list_(number), "counts": text})
    answer = {"text": text, "raw_text": text, "expression": text, "box": box, "phrases": pa.list_(number)}
    phrase = {"n": number, "text": text, "span": pa.list_(number), "mask": mask, "box": box}
    measured = {"area": pa.int64(), "score": pa.float64()}
    return pa.schema(
        {
            "job_id": text,
            "custom_id": text,
            "line": number,
            "file_name": text,
            "sha256": text,
            "width": number,
            "height": number,
            "task": text,
            "request": text,
            "text": text,
            "answers": pa.list_(pa.struct(answer)),
            "phrases": pa.list_(pa.struct(phrase | measured)),
            "model": text,
            "finished_at": pa.timestamp("us", tz="UTC"),
        }
    )


def _groups(jobs: Iterable[ExportedJob]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    size = 0
    for job in jobs:
        rows.append(_row(job))
        size += sum(len(phrase.rle.counts) for phrase in job.result.phrases)
        if len(rows) == _ROWS or size >= _MASK_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _row(job: ExportedJob) -> dict[str, Any]:
    return {
        "job_id": str(job.id),
        "custom_id": job.custom_id,
        "line": job.line,
        "file_name": job.image.file_name,
        "sha256": job.image.id,
        "width": job.image.width,
        "height": job.image.height,
        "task": job.ask.task.value,
        "request": schema.from_ask(job.ask).model_dump_json(),
        "text": job.result.text,
        "answers": _answers(job),
        "phrases": [
            {
                "n": n,
                "text": phrase.text,
                "span": phrase.span,
                "mask": {"size": (phrase.rle.height, phrase.rle.width), "counts": phrase.rle.counts},
                "box": phrase.box,
                "area": phrase.area,
                "score": phrase.score,
            }
            for n, phrase in enumerate(job.result.phrases)
        ],
        "model": job.result.fingerprint,
        "finished_at": job.finished_at,
    }


def _answers(job: ExportedJob) -> list[dict[str, Any]]:
    """Each with the numbers of its phrases among all of the job's."""
    rows = []
    first = 0
    for answer, expression, box in job.answers:
        end = first + len(answer.phrases)
        rows.append(
            {
                "text": answer.text,
                "raw_text": answer.raw_text,
                "expression": expression,
                "box": box,
                "phrases": list(range(first, end)),
            }
        )
        first = end
    return rows
