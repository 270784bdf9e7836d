"""The moves that are not a worker's: a job comes, is admitted, is looked after, and may be taken away."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, case, func, literal, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from shared.database import announcement
from shared.errors import Expired, IdTaken, LimitReached, NotFound, WorkerLost
from shared.ids import uuid7
from shared.jobs.records import NewJob, Swept
from shared.jobs.statements import (
    MESSAGE,
    RELEASED,
    announced,
    close_runs_of,
    failure,
    in_flight,
    message_of,
    now,
    queued,
)
from shared.objects import upload_key_of
from shared.states import FINISHED, Outcome, State
from shared.tables import LOCAL_OWNER, images, jobs
from shared.webhooks import outbox

_EXPIRY_BATCH = 1000
_COME_BACK_SECONDS = 30.0
"""Where the queue is full: it seldom has room for many in less, and a manifest is read anew at each try."""
_ONE_MORE_SECONDS = 2.0
"""Likewise for a single job, which the next one to leave the queue makes room for."""


def create(conn: Connection, new: NewJob, conversation_id: UUID | None = None, turn: int | None = None) -> UUID:
    """Queue a job, maybe as a turn of a conversation.

    Raises NotFound when the owner has no such image, or no more, LimitReached when too many of its jobs wait, and
    IdTaken when there is a job, anybody's, under the id that was chosen.

    The image's row is locked against `withdraw_image`, so that one either sees the job or is seen here.
    """
    require_room(conn, new.owner_id, new.most_queued)
    job_id = new.id or uuid7()
    values = {
        "id": literal(job_id),
        "image_id": images.c.id,
        "task": literal(new.ask.task.value),
        "inputs": literal(new.ask.inputs(), jobs.c.inputs.type),
        "conversation_id": literal(conversation_id, jobs.c.conversation_id.type),
        "turn": literal(turn, jobs.c.turn.type),
        "priority": literal(new.priority),
        "created_at": now,
        "expires_at": now + new.ttl,
        "owner_id": images.c.owner_id,
    }
    stored = select(*values.values()).where(
        images.c.id == new.image_id, images.c.owner_id == new.owner_id, images.c.deleted_at.is_(None)
    )
    row = stored.with_for_update(read=True, of=images)
    inserted = conn.execute(
        insert(jobs)
        .from_select(list(values), row)
        .on_conflict_do_nothing(index_elements=[jobs.c.id])
        .returning(announcement(str(job_id), State.QUEUED.value))
    )
    if inserted.one_or_none() is None:
        if conn.execute(select(jobs.c.id).where(jobs.c.id == job_id)).one_or_none() is not None:
            raise IdTaken("job", job_id)
        raise NotFound("image", new.image_id)
    return job_id


def require_room(conn: Connection, owner_id: UUID, most: int | None, more: int = 1, due: int = 0) -> None:
    """For so many jobs more, beside those that are about to be queued anyway. most: may wait; None for any number.

    Two that come at once may pass it together: a limit that is kept to within what comes at once serves as well.

    Raises LimitReached, with the time to come back at where an empty queue would have room.
    """
    if most is None:
        return
    if more > most:
        remedy = "Queue fewer at a time, or have the limit raised."
        raise LimitReached("queued_jobs", most, "jobs waiting", remedy)
    room = most - more - due
    # The one that would be too many tells; how many there are besides does not matter.
    last = select(jobs.c.id).where(queued, jobs.c.owner_id == owner_id).offset(max(0, room)).limit(1)
    if room < 0 or conn.execute(last).one_or_none() is not None:
        remedy = "Wait until some have been worked off."
        soon = _ONE_MORE_SECONDS if more == 1 else _COME_BACK_SECONDS
        raise LimitReached("queued_jobs", most, "jobs waiting", remedy, retry_after=soon)


def count_queued(conn: Connection, owner_id: UUID) -> int:
    """How many jobs of an owner wait, those of batches included."""
    return conn.execute(select(func.count()).where(queued, jobs.c.owner_id == owner_id)).scalar_one()


def cancel(conn: Connection, job_id: UUID, owner_id: UUID | None = None) -> bool:
    """Take a job away that is not finished; whoever runs it hears of it, or learns so from the next renewal.

    owner_id: of whose jobs; None for anybody's.
    """
    whose = [] if owner_id is None else [jobs.c.owner_id == owner_id]
    return bool(cancel_all(conn, and_(jobs.c.id == job_id, *whose)))


def withdraw_image(conn: Connection, image_id: str, owner_id: UUID = LOCAL_OWNER) -> str | None:
    """Let no job read the image, or its upload, any more: unfinished ones on it are cancelled, results stay.

    The key of its object, which the caller deletes after the commit if `withdrawn` still says so; None when the owner
    has no such image. Doing it again is harmless, and so is sending the image again.
    """
    key = conn.execute(
        update(images)
        .where(images.c.id == image_id, images.c.owner_id == owner_id)
        .values(deleted_at=func.coalesce(images.c.deleted_at, now))
        .returning(images.c.object_key)
    ).scalar_one_or_none()
    named = or_(jobs.c.image_id == image_id, jobs.c.source == upload_key_of(image_id, owner_id))
    cancel_all(conn, and_(named, jobs.c.owner_id == owner_id))
    return key


def withdrawn(conn: Connection, image_id: str, owner_id: UUID = LOCAL_OWNER) -> bool:
    """Whether the image is withdrawn; it stays as it is, withdrawn or not, until the transaction ends."""
    mine = and_(images.c.id == image_id, images.c.owner_id == owner_id)
    found = select(images.c.deleted_at).where(mine).with_for_update(key_share=True)
    return conn.execute(found).scalar_one_or_none() is not None


def cancel_all(conn: Connection, which: ColumnElement[bool]) -> list[UUID]:
    """As `cancel`, of many; those that were taken away."""
    canceled = conn.execute(
        update(jobs)
        .where(which, jobs.c.state.not_in(FINISHED))
        .values(state=State.CANCELED, finished_at=now, **RELEASED)
        .returning(jobs.c.id, announced)
    ).all()
    job_ids = [row.id for row in canceled]
    close_runs_of(conn, job_ids, Outcome.CANCELED)
    outbox.jobs_finished(conn, job_ids)
    return job_ids


def sweep(conn: Connection, resend_after: timedelta, max_attempts: int) -> Swept:
    """Find what nobody works on: leases that ran out, and messages not taken up for `resend_after`.

    Each is to be sent again, or is failed when its attempts are used up. Two sweeps never take the same job.
    """
    abandoned = or_(
        jobs.c.lease_expires_at <= now, and_(jobs.c.lease_token.is_(None), jobs.c.sent_at <= now - resend_after)
    )
    chosen = (
        select(jobs.c.id, jobs.c.lease_token)
        .where(in_flight, abandoned)
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    exhausted = jobs.c.attempt >= max_attempts
    rows = conn.execute(
        update(jobs)
        .where(jobs.c.id == chosen.c.id)
        .values(
            state=case((exhausted, State.FAILED.value), else_=jobs.c.state),
            ready_at=case((chosen.c.lease_token.is_not(None), now), else_=jobs.c.ready_at),
            sent_at=now,
            finished_at=case((exhausted, now), else_=null()),
            error=case((exhausted, failure(WorkerLost().to_problem())), else_=null()),
            **RELEASED,
        )
        .returning(*MESSAGE, jobs.c.admitted_at, announced)
    ).all()
    rows = sorted(rows, key=lambda row: (row.admitted_at, row.id))
    close_runs_of(conn, [row.id for row in rows], Outcome.LOST)
    failed = [row.id for row in rows if row.state == State.FAILED]
    outbox.jobs_finished(conn, failed)
    return Swept(
        resend=[message_of(row) for row in rows if row.state != State.FAILED],
        failed=failed,
    )


def expire(conn: Connection) -> list[UUID]:
    """Fail the jobs that are past their time and not finished; which they were, at most 1000 a call."""
    chosen = (
        select(jobs.c.id)
        .where(jobs.c.finished_at.is_(None), jobs.c.expires_at <= now)
        .order_by(jobs.c.expires_at)
        .limit(_EXPIRY_BATCH)
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    rows = conn.execute(
        update(jobs)
        .where(jobs.c.id == chosen.c.id)
        .values(state=State.FAILED, finished_at=now, error=failure(Expired().to_problem()), **RELEASED)
        .returning(jobs.c.id, announced)
    ).all()
    job_ids = [row.id for row in rows]
    close_runs_of(conn, job_ids, Outcome.FAILED)
    outbox.jobs_finished(conn, job_ids)
    return job_ids
