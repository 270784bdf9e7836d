"""Which queued jobs go next: by priority, then fairly between owners, then by age.

Jobs wait in queues: each batch is one, and so are all the jobs that an owner submitted one by one. Only the head of
each queue is looked at, so a batch of a million jobs costs no more than one of a hundred.
"""

from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Integer,
    Select,
    Subquery,
    and_,
    bindparam,
    cast,
    func,
    null,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from shared.jobs.records import Message
from shared.jobs.statements import MESSAGE, announced, in_flight, in_time, message_of, now, queued
from shared.priority import Priority
from shared.states import BatchState, State
from shared.tables import batches, jobs, owners

_LOCK = 0x676C_616D_6D01
_BATCHES_OF_OWNER = 8
"""So many of an owner's batches, the oldest of the highest priority, are looked at in one round."""


def admit(conn: Connection, window: int, reserve: int = 0) -> list[Message]:
    """Let queued jobs that are in time into vision, in the order in which they are to be sent.

    No more than `window` jobs are in flight afterwards, or `reserve` more for those that somebody waits for: they would
    else stand behind a window full of bulk work. One admits at a time, and nothing else puts a job in flight. There may
    be room and work left afterwards: that is so until a round admits nobody.
    """
    conn.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    room = window - conn.execute(select(func.count()).where(in_flight)).scalar_one()
    if room + reserve <= 0:
        return []
    rows = conn.execute(_ADMISSION, {"room": room, "most": room + reserve}).all()
    ordered = sorted(rows, key=lambda row: (-row.priority, row.created_at, row.line or 0, row.id))
    return [message_of(row) for row in ordered]


def _admission() -> ReturningUpdate[Any]:
    """Takes `room` jobs, and up to `most` of those that somebody waits for."""
    order = _in_order()
    chosen = (
        select(order.c.id)
        .where(or_(order.c.place <= bindparam("room", type_=Integer), order.c.priority >= Priority.INTERACTIVE.rank))
        .where(order.c.place <= _most())
        .cte("chosen")
        .prefix_with("MATERIALIZED")
    )
    # Whoever holds a row is about to take its job away.
    mine = jobs.c.id.in_(select(chosen.c.id))
    free = select(jobs.c.id).where(mine, queued, in_time).with_for_update(skip_locked=True).cte()
    return (
        update(jobs)
        .where(jobs.c.id == free.c.id)
        .values(state=State.VISION, admitted_at=now, ready_at=now, sent_at=now)
        .returning(*MESSAGE, jobs.c.created_at, jobs.c.line, announced)
    )


def _in_order() -> Subquery:
    """The first `most` of each queue, with their place among them all, from 1.

    An owner's jobs line up by priority and age; then each is as far back as its owner has jobs before it, those in
    flight included. So owners take turns, and one who comes late to a service full of another's work goes first.
    """
    heads = union_all(_of_batches(), _single()).subquery("heads")
    under_way = (
        select(jobs.c.owner_id, func.count().label("jobs")).where(in_flight).group_by(jobs.c.owner_id).subquery()
    )
    age = (heads.c.created_at, heads.c.line, heads.c.id)
    turn = func.row_number().over(partition_by=heads.c.owner_id, order_by=(heads.c.priority.desc(), *age))
    turns = (
        select(heads, (func.coalesce(under_way.c.jobs, 0) + turn).label("turn"))
        .outerjoin_from(heads, under_way, under_way.c.owner_id == heads.c.owner_id)
        .subquery("turns")
    )
    age = (turns.c.created_at, turns.c.line, turns.c.id)
    place = func.row_number().over(order_by=(turns.c.priority.desc(), turns.c.turn, *age))
    return select(turns.c.id, turns.c.priority, place.label("place")).subquery("places")


def _of_batches() -> Select[Any]:
    waiting = select(jobs.c.id).where(jobs.c.batch_id == batches.c.id, queued).exists()
    nth = func.row_number().over(
        partition_by=batches.c.owner_id, order_by=(batches.c.priority.desc(), batches.c.created_at, batches.c.id)
    )
    running = and_(batches.c.state == BatchState.RUNNING, batches.c.finished_at.is_(None))
    numbered = select(batches, nth.label("nth")).where(running, waiting).subquery("numbered")
    head = (
        select(jobs.c.id, jobs.c.created_at, jobs.c.line)
        .where(jobs.c.batch_id == numbered.c.id, queued, in_time)
        .order_by(jobs.c.line)
        .limit(_most())
        .lateral("head")
    )
    columns = head.c.id, numbered.c.owner_id, numbered.c.priority, head.c.created_at, head.c.line
    return select(*columns).join_from(numbered, head, true()).where(numbered.c.nth <= _BATCHES_OF_OWNER)


def _single() -> Select[Any]:
    head = (
        select(jobs.c.id, jobs.c.priority, jobs.c.created_at)
        .where(jobs.c.owner_id == owners.c.id, jobs.c.batch_id.is_(None), queued, in_time)
        .order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
        .limit(_most())
        .lateral("head")
    )
    no_line = cast(null(), Integer).label("line")
    columns = head.c.id, owners.c.id.label("owner_id"), head.c.priority, head.c.created_at, no_line
    return select(*columns).join_from(owners, head, true())


def _most() -> BindParameter[int]:
    """Written out, not bound: with a limit that it does not know, Postgres plans to read the whole table."""
    return bindparam("most", type_=Integer, literal_execute=True)


# One for all rounds: SQLAlchemy takes longer to look over a statement of this size than Postgres to run it.
_ADMISSION = _admission()
