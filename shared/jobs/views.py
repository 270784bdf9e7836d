"""A job as a client sees it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, select, tuple_

from shared.errors import Problem
from shared.jobs.records import Failure, ImageView, JobView, Phrase, Result, StageRun, Timing
from shared.jobs.statements import queued
from shared.masks import Rle
from shared.states import Outcome, Stage, State
from shared.tables import images, jobs, phrases, results, stage_runs
from shared.tasks import Task

_FARTHEST_POSITION = 10_000


def get(conn: Connection, job_id: UUID) -> JobView | None:
    """The job with its history and, once it succeeded, its result; None when there is no such job."""
    row = conn.execute(
        select(jobs, images.c.object_key, images.c.media_type, images.c.width, images.c.height)
        .join(images, images.c.id == jobs.c.image_id)
        .where(jobs.c.id == job_id)
    ).one_or_none()
    if row is None:
        return None
    state = State(row.state)
    runs = _stage_runs(conn, job_id) if state is not State.QUEUED else ()
    completed = {run.stage for run in runs if run.outcome is Outcome.COMPLETED}
    return JobView(
        id=row.id,
        task=Task(row.task),
        state=state,
        prompt=row.prompt,
        boxes=tuple(tuple(box) for box in row.boxes or ()),
        priority=row.priority,
        image=ImageView(row.image_id, row.object_key, row.media_type, row.width, row.height),
        created_at=row.created_at,
        admitted_at=row.admitted_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
        queue_position=_queue_position(conn, row) if state is State.QUEUED else None,
        progress=len(completed) / len(Stage),
        stages=runs,
        error=_failure(row.error) if row.error else None,
        result=_result(conn, job_id) if state is State.SUCCEEDED else None,
    )


def _queue_position(conn: Connection, job: Row[Any]) -> int:
    """One more than the jobs ahead, in two ranges of the admission index, and no further than anyone asks."""
    others = select(jobs.c.id).where(queued).limit(_FARTHEST_POSITION - 1)
    older = tuple_(jobs.c.created_at, jobs.c.id) < tuple_(job.created_at, job.id)
    ranges = others.where(jobs.c.priority > job.priority), others.where(jobs.c.priority == job.priority, older)
    ahead = sum(conn.execute(select(func.count()).select_from(part.subquery())).scalar_one() for part in ranges)
    return min(ahead + 1, _FARTHEST_POSITION)


def _stage_runs(conn: Connection, job_id: UUID) -> tuple[StageRun, ...]:
    rows = conn.execute(
        select(stage_runs).where(stage_runs.c.job_id == job_id).order_by(stage_runs.c.started_at, stage_runs.c.token)
    )
    return tuple(
        StageRun(
            stage=Stage(row.stage),
            attempt=row.attempt,
            rewind=row.rewind,
            worker=row.worker,
            ready_at=row.ready_at,
            message_sent_at=row.message_sent_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            outcome=Outcome(row.outcome),
            timing=Timing(**row.timings, cached=row.cached) if row.timings else None,
            error=Problem.from_json(row.error) if row.error else None,
        )
        for row in rows
    )


def _failure(error: Mapping[str, Any]) -> Failure:
    return Failure(Problem.from_json(error), Stage(error["stage"]) if error["stage"] else None, error["attempt"])


def _result(conn: Connection, job_id: UUID) -> Result:
    row = conn.execute(select(results).where(results.c.job_id == job_id)).one()
    found = conn.execute(select(phrases).where(phrases.c.job_id == job_id).order_by(phrases.c.n))
    return Result(row.text, row.raw_text, tuple(_phrase(phrase) for phrase in found), row.model_fingerprint)


def _phrase(row: Row[Any]) -> Phrase:
    return Phrase(
        text=row.text,
        span=None if row.span_start is None else (row.span_start, row.span_end),
        rle=Rle(row.height, row.width, row.rle_counts),
        box=None if row.box is None else tuple(row.box),
        area=row.area,
        score=row.score,
    )
