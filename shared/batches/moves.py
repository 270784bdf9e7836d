"""What is asked of a batch as a whole, and how it comes about.

A request only writes down what is wanted, so that it takes no longer for a million jobs than for one; admission heeds
it at once, and the scheduler does the rest by `work_off`, some jobs at a time.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, null, select, update

from shared.batches.statements import counted, failed, job_of, unfinished
from shared.database import notify
from shared.errors import Conflict, NotFound
from shared.jobs import cancel_all, require_room
from shared.jobs.statements import announced, now
from shared.states import BatchState, State
from shared.tables import batches, jobs
from shared.webhooks import outbox

_AT_ONCE = 5000
_UNFINISHED: dict[str, None] = {"finished_at": None, "counts": None}


def pause(conn: Connection, batch_id: UUID, owner_id: UUID) -> None:
    """Start no job of it; those that were started go on. Raises NotFound, and Conflict once it was cancelled."""
    _ask(conn, batch_id, owner_id, BatchState.PAUSED)


def resume(conn: Connection, batch_id: UUID, owner_id: UUID) -> None:
    """Raises NotFound, and Conflict once it was cancelled."""
    stood = batches.c.state == BatchState.PAUSED
    _ask(conn, batch_id, owner_id, BatchState.RUNNING, running_since=_now_if(stood))
    _announce(conn, batch_id)


def cancel(conn: Connection, batch_id: UUID, owner_id: UUID) -> None:
    """Take away its unfinished jobs; results stay. Of a batch that is finished nothing changes. Raises NotFound."""
    asked = update(batches).where(_mine(batch_id, owner_id)).values(state=BatchState.CANCELED, retry_at=null())
    conn.execute(asked.where(batches.c.finished_at.is_(None)))
    _require(conn, batch_id, owner_id)
    _announce(conn, batch_id)


def retry(conn: Connection, batch_id: UUID, owner_id: UUID, most_queued: int | None = None) -> None:
    """Queue its failed jobs again, with all their time. most_queued: how many jobs of the owner may wait then.

    Raises NotFound, Conflict if it was cancelled, and LimitReached when too many would wait.
    """
    _refuse_canceled(conn, batch_id, owner_id)
    if most_queued is not None:
        _require_room(conn, batch_id, owner_id, most_queued)
    since = _now_if(batches.c.finished_at.is_not(None))
    asked = update(batches).where(_mine(batch_id, owner_id)).values(retry_at=now, running_since=since, **_UNFINISHED)
    conn.execute(asked)
    _announce(conn, batch_id)


def work_off(conn: Connection) -> bool:
    """Do some of what was asked for, and note which batches have finished; whether there may be more to do."""
    more = _cancel_some(conn) | _retry_some(conn)
    _settle(conn)
    return more


def _cancel_some(conn: Connection) -> bool:
    which = (
        select(jobs.c.id)
        .join_from(batches, jobs, and_(job_of(batches.c.id), unfinished))
        .where(batches.c.state == BatchState.CANCELED, batches.c.finished_at.is_(None))
        .limit(_AT_ONCE)
    )
    return len(cancel_all(conn, jobs.c.id.in_(which))) == _AT_ONCE


def _retry_some(conn: Connection) -> bool:
    asked, due = batches.c.retry_at.is_not(None), _to_be_retried()
    chosen = (
        select(jobs.c.id, (batches.c.expires_at - batches.c.created_at).label("ttl"))
        .join_from(batches, jobs, due)
        .where(asked)
        .limit(_AT_ONCE)
        .with_for_update(of=jobs, skip_locked=True)
        .cte("chosen")
    )
    again = conn.execute(
        update(jobs)
        .where(jobs.c.id == chosen.c.id)
        .values(
            state=State.QUEUED,
            attempt=0,
            rewinds=0,
            error=null(),
            finished_at=null(),
            admitted_at=null(),
            ready_at=null(),
            sent_at=null(),
            expires_at=now + chosen.c.ttl,
        )
        .returning(jobs.c.id, announced)
    ).all()
    if len(again) < _AT_ONCE:
        done = ~select(jobs.c.id).where(due).correlate(batches).exists()
        conn.execute(update(batches).where(asked, done).values(retry_at=null()))
    return len(again) == _AT_ONCE


def _to_be_retried() -> ColumnElement[bool]:
    """True of the failed jobs of a batch that were there when it was asked for."""
    return and_(job_of(batches.c.id), failed, jobs.c.finished_at <= batches.c.retry_at)


def _require_room(conn: Connection, batch_id: UUID, owner_id: UUID, most: int) -> None:
    """What was asked of the owner's other batches and is not worked off yet counts as well. Raises LimitReached."""

    def count(found: Select[tuple[UUID]]) -> int:
        """No further than matters."""
        return conn.execute(select(func.count()).select_from(found.limit(most + 1).subquery())).scalar_one()

    again = count(select(jobs.c.id).where(job_of(batch_id), failed))
    others = batches.c.owner_id == owner_id, batches.c.id != batch_id, batches.c.retry_at.is_not(None)
    if again:
        due = count(select(jobs.c.id).join_from(batches, jobs, _to_be_retried()).where(*others))
        require_room(conn, owner_id, most, again, due)


def _settle(conn: Connection) -> None:
    left = select(jobs.c.id).where(job_of(batches.c.id), unfinished).correlate(batches).exists()
    settled = conn.execute(
        update(batches)
        .where(batches.c.finished_at.is_(None), batches.c.retry_at.is_(None), ~left)
        .values(finished_at=now, counts=counted(batches.c.id))
        .returning(batches.c.id, batches.c.owner_id)
    ).all()
    for row in settled:
        outbox.batch_finished(conn, row.id, row.owner_id)


def _ask(conn: Connection, batch_id: UUID, owner_id: UUID, state: BatchState, **values: Any) -> None:
    _refuse_canceled(conn, batch_id, owner_id)
    conn.execute(update(batches).where(_mine(batch_id, owner_id)).values(state=state, **values))


def _now_if(stood: ColumnElement[bool]) -> ColumnElement[Any]:
    """The `running_since` of a batch that stood still until now."""
    return case((stood, now), else_=batches.c.running_since)


def _refuse_canceled(conn: Connection, batch_id: UUID, owner_id: UUID) -> None:
    if _require(conn, batch_id, owner_id) == BatchState.CANCELED:
        raise Conflict(f"The batch {batch_id} was canceled.", remedy="Submit what is left of it as another batch.")


def _require(conn: Connection, batch_id: UUID, owner_id: UUID) -> str:
    """Its state, which stays until the transaction ends."""
    found = select(batches.c.state).where(_mine(batch_id, owner_id)).with_for_update()
    state: str | None = conn.execute(found).scalar_one_or_none()
    if state is None:
        raise NotFound("batch", batch_id)
    return state


def _mine(batch_id: UUID, owner_id: UUID) -> ColumnElement[bool]:
    return and_(batches.c.id == batch_id, batches.c.owner_id == owner_id)


def _announce(conn: Connection, batch_id: UUID) -> None:
    """Wake the scheduler, in the name of one of the batch's jobs."""
    job_id = conn.execute(select(jobs.c.id).where(job_of(batch_id)).limit(1)).scalar_one_or_none()
    if job_id is not None:
        notify(conn, job_id, State.QUEUED.value)
