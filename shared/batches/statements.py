"""The clauses that batches share."""

from uuid import UUID

from sqlalchemy import ColumnElement, and_, literal_column

from shared.states import State
from shared.tables import jobs

# Written out and not bound, one by one: each is a range of the index of batch and state.
unfinished = jobs.c.state.in_([literal_column(f"'{state}'") for state in State if not state.finished])


def job_of(batch_id: UUID | ColumnElement[UUID]) -> ColumnElement[bool]:
    """True of the batch's jobs. The second half lets Postgres use the indexes of jobs that are in a batch."""
    return and_(jobs.c.batch_id == batch_id, jobs.c.batch_id.is_not(None))
