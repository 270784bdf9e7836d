"""A batch, and its jobs, as a client sees them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, case, extract, func, literal, select

from shared.batches.records import BatchView, JobRow, ProblemCount, RowFilter
from shared.batches.statements import counted, done, error_type, failed, job_of
from shared.errors import NotFound, Problem
from shared.jobs.statements import now
from shared.states import BatchState, State
from shared.tables import batch_errors, batches, jobs

_LATELY = timedelta(minutes=1)
_MOST_PROBLEMS = 20


def get(conn: Connection, batch_id: UUID, owner_id: UUID) -> BatchView:
    """Raises NotFound, also of a batch that is another's."""
    row = conn.execute(select(batches).where(batches.c.id == batch_id, batches.c.owner_id == owner_id)).one_or_none()
    if row is None:
        raise NotFound("batch", batch_id)
    return _view(conn, row)


def require(conn: Connection, batch_id: UUID, owner_id: UUID) -> None:
    """Raises NotFound where the owner has no such batch."""
    found = select(batches.c.id).where(batches.c.id == batch_id, batches.c.owner_id == owner_id)
    if conn.execute(found).one_or_none() is None:
        raise NotFound("batch", batch_id)


def page(conn: Connection, owner_id: UUID, before: UUID | None, limit: int) -> list[BatchView]:
    """The owner's batches, the newest first, from the one behind `before` on."""
    found = select(batches).where(batches.c.owner_id == owner_id).order_by(batches.c.id.desc()).limit(limit)
    if before is not None:
        found = found.where(batches.c.id < before)
    return [_view(conn, row) for row in conn.execute(found)]


def jobs_page(conn: Connection, batch_id: UUID, wanted: RowFilter, limit: int, after: int = 0) -> list[JobRow]:
    """Its jobs that the filter lets through, by line, from the one behind `after` on."""
    found = select(jobs).where(job_of(batch_id), jobs.c.line > after).order_by(jobs.c.line).limit(limit)
    if wanted.states is not None:
        found = found.where(jobs.c.state.in_(wanted.states))
    if wanted.task is not None:
        found = found.where(jobs.c.task == wanted.task)
    if wanted.custom_id is not None:
        found = found.where(jobs.c.custom_id == wanted.custom_id)
    if wanted.error_type is not None:
        found = found.where(failed, error_type == wanted.error_type)
    return [
        JobRow(
            id=row.id,
            line=row.line,
            custom_id=row.custom_id,
            task=row.task,
            state=State(row.state),
            image_id=row.image_id,
            source=row.source,
            created_at=row.created_at,
            finished_at=row.finished_at,
            error=Problem.from_json(row.error) if row.error else None,
        )
        for row in conn.execute(found)
    ]


def _view(conn: Connection, row: Row[Any]) -> BatchView:
    counts = row.counts
    # A scheduler of before migration 0011 may still write what it counted of all batches.
    if counts is None or sum(counts.values()) != row.jobs:
        counts = conn.execute(select(counted(literal(row.id)))).scalar_one()
    invalid = select(func.count()).where(batch_errors.c.batch_id == row.id)
    return BatchView(
        id=row.id,
        name=row.name,
        priority=row.priority,
        state=BatchState(row.state),
        created_at=row.created_at,
        expires_at=row.expires_at,
        finished_at=row.finished_at,
        jobs=row.jobs,
        counts={state: counts.get(state, 0) for state in State},
        invalid_lines=conn.execute(invalid).scalar_one(),
        rate=_rate(conn, row),
        problems=_problems(conn, row.id) if counts.get(State.FAILED) else (),
    )


def _rate(conn: Connection, row: Row[Any]) -> float:
    """Jobs a second over the last minute, or over the time since the first of them could start if that is shorter."""
    minute = now - _LATELY
    going = func.greatest(minute, row.running_since)
    ended = jobs.c.finished_at
    lately = select(func.count(), func.min(jobs.c.admitted_at)).where(job_of(row.id), done, ended > going)
    count, first = conn.execute(lately).one()
    if not count:
        return 0.0
    # One that has gone on before the minute may have had few jobs in it; else the first that was admitted began it.
    # The earliest, and not whether there is any: for that Postgres would rather read the table than the index.
    older = (
        select(ended).where(job_of(row.id), done, ended > row.running_since, ended <= minute).order_by(ended).limit(1)
    )
    since = case((older.scalar_subquery().is_not(None), minute), else_=func.greatest(going, first))
    seconds = float(conn.execute(select(extract("epoch", now - since))).scalar_one())
    return float(count / seconds) if seconds > 0 else 0.0


def _problems(conn: Connection, batch_id: UUID) -> tuple[ProblemCount, ...]:
    """By type alone, as jobs are found by it: one type may have other titles, as of an earlier version."""
    first = func.min(jobs.c.line)
    counted = (
        select(error_type.label("type"), func.count().label("failed"), first.label("line"))
        .where(job_of(batch_id), failed)
        .group_by(error_type)
        .order_by(func.count().desc(), first)
        .limit(_MOST_PROBLEMS)
        .subquery()
    )
    rows = conn.execute(
        select(counted, *(jobs.c.error[member].astext.label(member) for member in ("title", "detail")))
        .join(jobs, (jobs.c.line == counted.c.line) & job_of(batch_id))
        .order_by(counted.c.failed.desc(), counted.c.line)
    )
    return tuple(ProblemCount(row.type, row.title, row.failed, row.line, row.detail) for row in rows)
