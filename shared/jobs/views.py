"""A job, or several, or a conversation, as a client sees it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, and_, bindparam, case, func, literal, null, select, tuple_
from sqlalchemy.dialects.postgresql import aggregate_order_by

from shared.errors import NotFound, Problem
from shared.jobs.records import (
    ConversationView,
    Failure,
    ImageView,
    JobEntry,
    JobFilter,
    JobView,
    StageRun,
    Timing,
)
from shared.jobs.results import from_json, result_json
from shared.jobs.statements import queued, turn_of
from shared.states import Outcome, Stage, State
from shared.tables import conversations, images, jobs, stage_runs
from shared.tasks import Ask

_FARTHEST_POSITION = 10_000
_LAST_TURNS = 200
_IMAGE = [images.c[name] for name in ("object_key", "media_type", "width", "height", "deleted_at")]
_ON_IMAGE = and_(images.c.id == jobs.c.image_id, images.c.owner_id == jobs.c.owner_id)
_VERSION = [
    jobs.c[name]
    for name in ("state", "attempt", "rewinds", "lease_token", "ready_at", "finished_at", "expires_at", "image_id")
]
"""Each move of a job changes one of them, and a renewal of its lease none."""
_POSITION = [jobs.c[name] for name in ("id", "owner_id", "batch_id", "line", "priority", "created_at")]

_RUNS = (
    select(
        func.json_agg(
            aggregate_order_by(func.to_json(stage_runs.table_valued()), stage_runs.c.started_at, stage_runs.c.token)
        )
    )
    .where(stage_runs.c.job_id == jobs.c.id)
    .scalar_subquery()
)
_WHOLE = select(
    jobs,
    *_IMAGE,
    _RUNS.label("runs"),
    case((jobs.c.state == State.SUCCEEDED, result_json(jobs.c.id)), else_=null()).label("result"),
).outerjoin(images, _ON_IMAGE)
"""All of a job in one statement: clients ask for jobs again and again, and most of what that costs is round trips."""
_VERSION_OF = select(*_VERSION, *_POSITION).where(
    jobs.c.id == bindparam("job_id"), jobs.c.owner_id == bindparam("owner_id")
)


def get(conn: Connection, job_id: UUID, owner_id: UUID | None = None) -> JobView | None:
    """The job with its history and, once it succeeded, its result; None when there is no such job.

    owner_id: of whose jobs; None for anybody's.
    """
    whose = [] if owner_id is None else [jobs.c.owner_id == owner_id]
    row = conn.execute(_WHOLE.where(jobs.c.id == job_id, *whose)).one_or_none()
    if row is None:
        return None
    state = State(row.state)
    runs = tuple(map(_stage_run, row.runs)) if row.runs and state is not State.QUEUED else ()
    position = _queue_position(conn, row) if state is State.QUEUED else None
    completed = {run.stage for run in runs if run.outcome is Outcome.COMPLETED}
    return JobView(
        **vars(_entry(row)),
        queue_position=position,
        progress=len(completed) / len(Stage),
        stages=runs,
        result=from_json(row.result) if state is State.SUCCEEDED else None,
        version=_version(row, position),
    )


def get_version(conn: Connection, job_id: UUID, owner_id: UUID) -> str | None:
    """The `version` that `get` would give the owner's job, from its row alone; None when there is no such job."""
    row = conn.execute(_VERSION_OF, {"job_id": job_id, "owner_id": owner_id}).one_or_none()
    if row is None:
        return None
    return _version(row, _queue_position(conn, row) if row.state == State.QUEUED else None)


def get_page(
    conn: Connection, owner_id: UUID, wanted: JobFilter, limit: int, after: tuple[datetime, UUID] | None = None
) -> list[JobEntry]:
    """The owner's jobs that the filter lets through, the newest first. after: created_at and id of the job before."""
    conditions = [jobs.c.owner_id == owner_id]
    if wanted.states is not None:
        conditions.append(jobs.c.state.in_(wanted.states))
    if wanted.task is not None:
        conditions.append(jobs.c.task == wanted.task)
    if wanted.image_id is not None:
        conditions.append(jobs.c.image_id == wanted.image_id)
    if wanted.batch_id is not None:
        conditions.append(jobs.c.batch_id == wanted.batch_id)
    if after is not None:
        conditions.append(tuple_(jobs.c.created_at, jobs.c.id) < tuple_(*map(literal, after)))
    # By age and not by id alone: an id that a client chose tells nothing of it.
    newest = (jobs.c.created_at.desc(), jobs.c.id.desc())
    found = select(jobs, *_IMAGE).outerjoin(images, _ON_IMAGE).where(*conditions)
    rows = conn.execute(found.order_by(*newest).limit(limit))
    return [_entry(row) for row in rows]


def get_conversation(conn: Connection, conversation_id: UUID, owner_id: UUID | None = None) -> ConversationView | None:
    """The conversation with its last turns; None when there is no such one. owner_id: as for `get`."""
    on_image = and_(images.c.id == conversations.c.image_id, images.c.owner_id == conversations.c.owner_id)
    whose = [] if owner_id is None else [conversations.c.owner_id == owner_id]
    row = conn.execute(
        select(conversations, *_IMAGE).join(images, on_image).where(conversations.c.id == conversation_id, *whose)
    ).one_or_none()
    if row is None:
        return None
    last = select(jobs.c.id).where(turn_of(conversation_id)).order_by(jobs.c.turn.desc()).limit(_LAST_TURNS)
    turns = conn.execute(last).scalars().all()
    return ConversationView(row.id, _image(row), row.created_at, tuple(reversed(turns)))


def require_conversation(conn: Connection, conversation_id: UUID, owner_id: UUID) -> None:
    """Raises NotFound where the owner has no such conversation."""
    mine = conversations.c.id == conversation_id, conversations.c.owner_id == owner_id
    if conn.execute(select(conversations.c.id).where(*mine)).one_or_none() is None:
        raise NotFound("conversation", conversation_id)


def get_turns(conn: Connection, conversation_id: UUID, after: int, limit: int) -> list[JobEntry]:
    """The conversation's turns, oldest first, from the one behind number `after` on."""
    mine = turn_of(conversation_id), jobs.c.turn > after
    found = select(jobs, *_IMAGE).outerjoin(images, _ON_IMAGE).where(*mine)
    return [_entry(row) for row in conn.execute(found.order_by(jobs.c.turn).limit(limit))]


def _entry(row: Row[Any]) -> JobEntry:
    return JobEntry(
        id=row.id,
        ask=Ask.restored(row.task, row.inputs),
        state=State(row.state),
        conversation_id=row.conversation_id,
        turn=row.turn,
        batch_id=row.batch_id,
        custom_id=row.custom_id,
        priority=row.priority,
        image=None if row.image_id is None else _image(row),
        source=row.source,
        created_at=row.created_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
        error=_failure(row.error) if row.error else None,
    )


def _version(row: Row[Any], queue_position: int | None) -> str:
    return " ".join(str(getattr(row, column.name)) for column in _VERSION) + f" {queue_position}"


def _image(row: Row[Any]) -> ImageView:
    return ImageView(
        row.image_id, row.object_key, row.media_type, row.width, row.height, deleted=row.deleted_at is not None
    )


def _queue_position(conn: Connection, job: Row[Any]) -> int:
    """One more than the jobs ahead in its queue: ranges of the admission's indexes, no further than anyone asks."""
    others = select(jobs.c.id).where(queued).limit(_FARTHEST_POSITION - 1)
    if job.batch_id is not None:
        ranges = [others.where(jobs.c.batch_id == job.batch_id, jobs.c.line < job.line)]
    else:
        single = others.where(jobs.c.batch_id.is_(None), jobs.c.owner_id == job.owner_id)
        older = tuple_(jobs.c.created_at, jobs.c.id) < tuple_(job.created_at, job.id)
        ranges = [single.where(jobs.c.priority > job.priority), single.where(jobs.c.priority == job.priority, older)]
    ahead = sum(conn.execute(select(func.count()).select_from(part.subquery())).scalar_one() for part in ranges)
    return min(ahead + 1, _FARTHEST_POSITION)


def _stage_run(run: Mapping[str, Any]) -> StageRun:
    return StageRun(
        stage=Stage(run["stage"]),
        attempt=run["attempt"],
        rewind=run["rewind"],
        worker=run["worker"],
        ready_at=datetime.fromisoformat(run["ready_at"]),
        message_sent_at=datetime.fromisoformat(run["message_sent_at"]),
        started_at=datetime.fromisoformat(run["started_at"]),
        finished_at=datetime.fromisoformat(run["finished_at"]) if run["finished_at"] else None,
        outcome=Outcome(run["outcome"]),
        timing=Timing(**run["timings"], cached=run["cached"]) if run["timings"] else None,
        error=Problem.from_json(run["error"]) if run["error"] else None,
    )


def _failure(error: Mapping[str, Any]) -> Failure:
    return Failure(Problem.from_json(error), Stage(error["stage"]) if error["stage"] else None, error["attempt"])
