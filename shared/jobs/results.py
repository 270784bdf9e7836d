"""What jobs have come to, read for one or for many at once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Table, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from shared.jobs.records import Answer, Phrase, Result
from shared.masks import Rle
from shared.tables import answers, phrases, results


def results_of(conn: Connection, job_ids: Sequence[UUID]) -> dict[UUID, Result]:
    """The results of those of the jobs that have one."""
    found: defaultdict[tuple[UUID, int], list[Phrase]] = defaultdict(list)
    for row in conn.execute(
        select(phrases).where(phrases.c.job_id.in_(job_ids)).order_by(phrases.c.job_id, phrases.c.n)
    ):
        found[row.job_id, row.answer].append(_phrase(row._asdict()))
    said: defaultdict[UUID, list[Answer]] = defaultdict(list)
    for row in conn.execute(
        select(answers).where(answers.c.job_id.in_(job_ids)).order_by(answers.c.job_id, answers.c.n)
    ):
        said[row.job_id].append(Answer(row.text, row.raw_text, tuple(found[row.job_id, row.n])))
    rows = conn.execute(select(results).where(results.c.job_id.in_(job_ids)))
    return {row.job_id: Result(tuple(said[row.job_id]), row.model_fingerprint) for row in rows}


def _phrase(row: Mapping[str, Any]) -> Phrase:
    return Phrase(
        text=row["text"],
        span=None if row["span_start"] is None else (row["span_start"], row["span_end"]),
        rle=Rle(row["height"], row["width"], row["rle_counts"]),
        box=None if row["box"] is None else tuple(row["box"]),
        area=row["area"],
        score=row["score"],
    )


def result_json(job_id: ColumnElement[UUID]) -> ColumnElement[Any]:
    """A column with what `from_json` reads, for a statement that has more to read: a round trip less, or three."""
    fingerprint = select(results.c.model_fingerprint).where(results.c.job_id == job_id).scalar_subquery()
    return func.json_build_object(
        "model_fingerprint", fingerprint, "answers", _listed(answers, job_id), "phrases", _listed(phrases, job_id)
    )


def from_json(data: Mapping[str, Any]) -> Result:
    """The result that `result_json` describes."""
    found: defaultdict[int, list[Phrase]] = defaultdict(list)
    for one in data["phrases"] or ():
        found[one["answer"]].append(_phrase(one))
    said = (Answer(one["text"], one["raw_text"], tuple(found[one["n"]])) for one in data["answers"] or ())
    return Result(tuple(said), data["model_fingerprint"])


def _listed(table: Table, job_id: ColumnElement[UUID]) -> ColumnElement[Any]:
    rows = func.json_agg(aggregate_order_by(func.to_json(table.table_valued()), table.c.n))
    return select(rows).where(table.c.job_id == job_id).scalar_subquery()
