"""The clauses that batches share."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB

from shared.states import State
from shared.tables import batches, jobs

# Written out and not bound, one by one: each is a range of the index of batch and state.
unfinished = jobs.c.state.in_([literal_column(f"'{state}'") for state in State if not state.finished])

# Likewise: what has come to an end by itself.
done = jobs.c.state.in_([literal_column(f"'{state}'") for state in (State.SUCCEEDED, State.FAILED)])

# Likewise, with the key as the index has it.
failed = jobs.c.state == literal_column(f"'{State.FAILED}'")
error_type = jobs.c.error.op("->>", return_type=Text())(literal_column("'type'"))


def counted(batch_id: ColumnElement[UUID]) -> ColumnElement[Any]:
    """State → how many of the batch's jobs are in it, as JSON; states of none are left out."""
    by_state = (
        select(jobs.c.state, func.count().label("jobs"))
        .where(job_of(batch_id))
        .group_by(jobs.c.state)
        # SQLAlchemy does not find out by itself, of what is selected from: all batches would be counted together.
        .correlate(batches)
        .subquery()
    )
    found = select(func.coalesce(func.jsonb_object_agg(by_state.c.state, by_state.c.jobs), cast("{}", JSONB)))
    return found.scalar_subquery()


def job_of(batch_id: UUID | ColumnElement[UUID]) -> ColumnElement[bool]:
    """True of the batch's jobs. The second half lets Postgres use the indexes of jobs that are in a batch."""
    return and_(jobs.c.batch_id == batch_id, jobs.c.batch_id.is_not(None))
