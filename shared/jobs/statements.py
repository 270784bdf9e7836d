"""The clauses that the moves of the state machine share."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Row,
    Text,
    Uuid,
    and_,
    any_,
    case,
    cast,
    func,
    literal,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.dml import ReturningUpdate

from shared.database import announcement
from shared.errors import Problem
from shared.jobs.records import Message, Run, Timing
from shared.priority import is_urgent
from shared.states import IN_FLIGHT, Outcome, Stage, State
from shared.tables import jobs, stage_runs

now = func.statement_timestamp()
"""Not now(): a statement that waited for a lock must not judge leases by the start of its transaction."""

_MS_DIGITS = 3
"""Microseconds, as the times of the history have."""

RELEASED: dict[str, None] = {"lease_worker": None, "lease_token": None, "lease_expires_at": None}

# Written out and not bound: a plan that Postgres keeps for any value cannot use the partial indexes.
queued = jobs.c.state == literal_column(f"'{State.QUEUED}'")
in_flight = jobs.c.state.in_([literal_column(f"'{state}'") for state in IN_FLIGHT])
in_time = jobs.c.expires_at - now > timedelta(0)
"""Nothing is begun for a job that is past its time, which `expire` fails.

A difference, of which Postgres has no statistics: by those of all jobs there ever were hardly any is in time, and where
it looks for the first of a queue it would sort the whole instead of walking its index.
"""

announced = announcement(cast(jobs.c.id, Text), jobs.c.state)

MESSAGE = (jobs.c.id, jobs.c.state, jobs.c.attempt, jobs.c.priority)
"""What `message_of` reads of a row."""


def turn_of(conversation_id: UUID) -> ColumnElement[bool]:
    """True of the conversation's jobs. The second half lets Postgres use the index of turns."""
    return and_(jobs.c.conversation_id == conversation_id, jobs.c.turn.is_not(None))


def message_of(row: Row[Any]) -> Message:
    """To start the job in the stage that it is in."""
    return Message(row.id, Stage(row.state), row.attempt, is_urgent(row.priority))


def failure(problem: Problem) -> ColumnElement[Any]:
    """The `error` of a job that fails where it stands."""
    stage = case((in_flight, jobs.c.state), else_=null())
    where = func.jsonb_build_object("stage", stage, "attempt", jobs.c.attempt)
    return cast(problem.to_json(), JSONB).op("||")(where)


def held(run: Run) -> ColumnElement[bool]:
    """True of the run's job for as long as it is the run's."""
    return and_(jobs.c.id == run.job_id, jobs.c.state == run.stage.state, jobs.c.lease_token == run.token)


_ended = (
    select(func.greatest(jobs.c.ready_at, jobs.c.finished_at))
    .where(jobs.c.id == stage_runs.c.job_id)
    .correlate(stage_runs)
    .scalar_subquery()
)
"""When the job's latest move was: what ended its run came with it, at one instant for both."""


def finish(run: Run, state: State, **values: Any) -> ReturningUpdate[Any]:
    return update(jobs).where(held(run)).values(state=state, finished_at=now, **RELEASED, **values).returning(announced)


def close_run(
    conn: Connection, run: Run, outcome: Outcome, timing: Timing | None = None, problem: Problem | None = None
) -> None:
    """Write into the history how a run ended; the move that ended it has been made."""
    timings = timing and {
        "fetch_ms": round(timing.fetch_ms, _MS_DIGITS),
        "engine_wait_ms": round(timing.engine_wait_ms, _MS_DIGITS),
        "engine_wait_steps": timing.engine_wait_steps,
        "engine_ms": round(timing.engine_ms, _MS_DIGITS),
        "store_ms": round(timing.store_ms, _MS_DIGITS),
    }
    conn.execute(
        update(stage_runs)
        .where(stage_runs.c.token == run.token)
        .values(
            outcome=outcome,
            finished_at=_ended,
            timings=timings,
            cached=timing is not None and timing.cached,
            error=problem and problem.to_json(),
        )
    )


def close_runs_of(conn: Connection, job_ids: Sequence[UUID], outcome: Outcome) -> None:
    """Write into the history that the jobs were taken from whoever ran them; the move that took them has been made."""
    if job_ids:
        conn.execute(
            update(stage_runs)
            # One parameter, however many jobs: Postgres takes 65,535.
            .where(
                stage_runs.c.job_id == any_(literal(list(job_ids), ARRAY(Uuid))),
                stage_runs.c.outcome == Outcome.RUNNING,
            )
            .values(outcome=outcome, finished_at=_ended)
        )
