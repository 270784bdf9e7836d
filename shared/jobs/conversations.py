"""Conversations: jobs on one image, each of which sees the answers of those before it."""

from uuid import UUID

from sqlalchemy import Connection, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from shared.errors import Conflict, IdTaken, NotFound
from shared.ids import uuid7
from shared.jobs.records import NewJob, PastTurn
from shared.jobs.schedule import create
from shared.jobs.statements import turn_of
from shared.states import State
from shared.tables import LOCAL_OWNER, answers, conversations, images, jobs
from shared.tasks import Ask


def begin(conn: Connection, image_id: str, owner_id: UUID = LOCAL_OWNER, conversation_id: UUID | None = None) -> UUID:
    """Open a conversation about a stored image, under an id that may be chosen for it.

    Raises NotFound when the owner has no such image, or no more, and IdTaken when the id has a conversation.
    """
    conversation_id = conversation_id or uuid7()
    row = select(literal(conversation_id), images.c.id, images.c.owner_id).where(
        images.c.id == image_id, images.c.owner_id == owner_id, images.c.deleted_at.is_(None)
    )
    begun = conn.execute(
        insert(conversations)
        .from_select(["id", "image_id", "owner_id"], row)
        .on_conflict_do_nothing(index_elements=[conversations.c.id])
        .returning(conversations.c.id)
    ).one_or_none()
    if begun is None:
        known = select(conversations.c.id).where(conversations.c.id == conversation_id)
        if conn.execute(known).one_or_none() is not None:
            raise IdTaken("conversation", conversation_id)
        raise NotFound("image", image_id)
    return conversation_id


def add_turn(conn: Connection, conversation_id: UUID, new: NewJob) -> UUID:
    """Queue the next turn; one that sends two at once is told to wait for the first.

    Raises NotFound for an unknown conversation, Conflict while a turn is not finished or when the image was deleted,
    and IdTaken when there is a job under the id that was chosen.
    """
    # The row's lock makes turns of one conversation one after another.
    found = conn.execute(
        select(conversations.c.id)
        .where(conversations.c.id == conversation_id, conversations.c.owner_id == new.owner_id)
        .with_for_update()
    ).one_or_none()
    if found is None:
        raise NotFound("conversation", conversation_id)
    if new.id is not None and conn.execute(select(jobs.c.id).where(jobs.c.id == new.id)).one_or_none() is not None:
        raise IdTaken("job", new.id)  # maybe the very turn that is not finished
    mine = turn_of(conversation_id)
    under_way = conn.execute(select(jobs.c.id).where(mine, jobs.c.finished_at.is_(None))).scalar()
    if under_way is not None:
        raise Conflict(
            f"The conversation's turn {under_way} is not finished.", remedy=f"Wait: GET /jobs/{under_way}?wait=30."
        )
    count = conn.execute(select(func.count()).select_from(jobs).where(mine)).scalar_one()
    try:
        return create(conn, new, conversation_id, count + 1)
    except NotFound:
        raise Conflict(
            f"The image of conversation {conversation_id} was deleted.",
            remedy="Send the image again, or begin another conversation.",
        ) from None


def history(conn: Connection, conversation_id: UUID | None, turn: int | None) -> tuple[PastTurn, ...]:
    """What a turn sees: the earlier ones that succeeded, oldest first. Nothing for a job without a conversation."""
    if conversation_id is None or turn is None:
        return ()
    rows = conn.execute(
        select(
            jobs.c.id,
            jobs.c.task,
            jobs.c.inputs,
            func.array_agg(aggregate_order_by(answers.c.raw_text, answers.c.n)).label("said"),
        )
        .join(answers, answers.c.job_id == jobs.c.id)
        .where(jobs.c.conversation_id == conversation_id, jobs.c.turn < turn, jobs.c.state == State.SUCCEEDED)
        .group_by(jobs.c.id)
        .order_by(jobs.c.turn)
    )
    return tuple(PastTurn(Ask.restored(row.task, row.inputs), tuple(row.said)) for row in rows)
