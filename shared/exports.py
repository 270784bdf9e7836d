"""Datasets made of batches: which there are, and the life of one from the request to its removal.

An export holds the succeeded jobs of its batch. These only become more, so their number tells whether a file that is
there is still what would be built anew. One process builds at a time (`services.scheduler.exporter`); each write of a
build repeats its attempt and changes nothing once another has begun.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from shared.errors import ExportFailed, NotFound, Problem
from shared.ids import uuid7
from shared.states import ExportState, State
from shared.tables import batches, exports, jobs

_now = func.statement_timestamp()
# Written out and not bound, as the partial indexes want it.
_succeeded = jobs.c.state == literal_column(f"'{State.SUCCEEDED}'")
_unfinished = exports.c.state.in_([literal_column(f"'{state}'") for state in (ExportState.QUEUED, ExportState.RUNNING)])


class Format(StrEnum):
    COCO = "coco"
    GRANDF = "grandf"
    LABELSTUDIO = "labelstudio"
    CVAT = "cvat"
    YOLO_SEG = "yolo-seg"
    MASKS = "masks"
    PARQUET = "parquet"

    @property
    def ending(self) -> str:
        """Of the file's name."""
        return "parquet" if self is Format.PARQUET else "zip"

    @property
    def media_type(self) -> str:
        return "application/vnd.apache.parquet" if self is Format.PARQUET else "application/zip"


@dataclass(frozen=True)
class Export:
    """jobs: how many of the batch had succeeded when it was asked for; the file may hold more of a running batch.

    batch_id: None once the batch has gone. attempt: which build of it the present or last one is, 1 for the first.
    """

    id: UUID
    batch_id: UUID | None
    owner_id: UUID
    format: Format
    jobs: int
    state: ExportState
    attempt: int
    progress: float
    object_key: str | None
    bytes: int | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None
    error: Problem | None

    @property
    def folder(self) -> str:
        """What the keys of its objects begin with."""
        return f"exports/{self.owner_id}/{self.id}/"

    @property
    def file_name(self) -> str:
        return f"{self.batch_id}-{self.format}.{self.format.ending}"


def request(conn: Connection, batch_id: UUID, owner_id: UUID, form: Format, fresh_for: timedelta) -> Export:
    """The export of the batch as it is now; queued here unless there is one. Raises NotFound.

    While the batch runs, a file stays good for `fresh_for` after it was built, or whoever waits for one would never
    meet one that is new enough. For that long a failure is told, too; after that it is built anew.
    """
    statement = select(batches.c.finished_at).where(batches.c.id == batch_id, batches.c.owner_id == owner_id)
    batch = conn.execute(statement).one_or_none()
    if batch is None:
        raise NotFound("batch", batch_id)
    found = _newest(conn, batch_id, form)
    if found is not None and found.state in (ExportState.QUEUED, ExportState.RUNNING):
        return found
    count = conn.execute(
        select(func.count()).select_from(jobs).where(jobs.c.batch_id == batch_id, _succeeded)
    ).scalar_one()
    if found is not None and _is_good(conn, found, count, batch.finished_at is not None, fresh_for):
        return found
    new = insert(exports).values(id=uuid7(), batch_id=batch_id, owner_id=owner_id, format=form, jobs=count)
    row = conn.execute(
        new.on_conflict_do_nothing(
            index_elements=[exports.c.batch_id, exports.c.format], index_where=_unfinished
        ).returning(exports)
    ).one_or_none()
    if row is not None:
        return _export(row)
    # Somebody else's was first.
    found = _newest(conn, batch_id, form)
    assert found is not None
    return found


def begin(conn: Connection, max_attempts: int, keep_for: timedelta) -> Export | None:
    """Begin the build of the oldest that is not finished; None when there is none.

    Only for the one process that builds: to it, one that is running was left behind by a builder that stopped. One
    that was begun `max_attempts` times is failed here.
    """
    while True:
        oldest = (
            select(exports.c.id, exports.c.attempt)
            .where(_unfinished, exports.c.batch_id.is_not(None))
            .order_by(exports.c.created_at, exports.c.id)
            .limit(1)
            .with_for_update()
        )
        chosen = conn.execute(oldest).one_or_none()
        if chosen is None:
            return None
        this = exports.c.id == chosen.id
        if chosen.attempt < max_attempts:
            begun = (
                update(exports).where(this).values(state=ExportState.RUNNING, attempt=chosen.attempt + 1, progress=0)
            )
            return _export(conn.execute(begun.returning(exports)).one())
        lost = ExportFailed(
            f"The file was begun {max_attempts} times, and never stored: each time the scheduler or the upload ended.",
            remedy="Look for the export's id in the schedulers' logs; one may need more memory or disk than it has.",
        )
        conn.execute(update(exports).where(this).values(**_failed(lost.to_problem(), keep_for)))


def report(conn: Connection, export: Export, progress: float) -> bool:
    """How far its build is; False when it is no longer this build's, and whoever builds it may stop."""
    return _write(conn, export, progress=progress)


def succeed(conn: Connection, export: Export, object_key: str, size: int, keep_for: timedelta) -> bool:
    """The file is in the object store; False when it is no longer this build's, and the file nobody's."""
    return _write(
        conn,
        export,
        state=ExportState.SUCCEEDED,
        progress=1,
        object_key=object_key,
        bytes=size,
        finished_at=_now,
        expires_at=_now + keep_for,
    )


def fail(conn: Connection, export: Export, problem: Problem, keep_for: timedelta) -> bool:
    return _write(conn, export, **_failed(problem, keep_for))


def give_back(conn: Connection, export: Export, counted: bool = False) -> bool:
    """The builder stops, or a server it needs is away: the build begins again later.

    counted: it was begun all the same, for what kept it from its end may be in the file.
    """
    attempt = export.attempt if counted else export.attempt - 1
    return _write(conn, export, state=ExportState.QUEUED, attempt=attempt, progress=0)


def outlived(conn: Connection) -> list[Export]:
    """Those past their time, and those whose batch has gone; at most 100 a call."""
    past = or_(exports.c.expires_at <= _now, exports.c.batch_id.is_(None))
    rows = conn.execute(select(exports).where(past).limit(100)).all()
    return [_export(row) for row in rows]


def remove(conn: Connection, export_id: UUID) -> None:
    """Forget an export whose objects are removed."""
    conn.execute(delete(exports).where(exports.c.id == export_id))


def _newest(conn: Connection, batch_id: UUID, form: Format) -> Export | None:
    """Of those that have not outlived their time."""
    alive = or_(exports.c.expires_at.is_(None), exports.c.expires_at > _now)
    row = conn.execute(
        select(exports)
        .where(exports.c.batch_id == batch_id, exports.c.format == form, alive)
        .order_by(exports.c.created_at.desc(), exports.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _export(row)


def _is_good(conn: Connection, found: Export, count: int, batch_finished: bool, fresh_for: timedelta) -> bool:
    succeeded = found.state is ExportState.SUCCEEDED
    if succeeded and found.jobs == count:
        return True
    if succeeded and batch_finished:
        return False
    assert found.finished_at is not None
    return bool(conn.execute(select(found.finished_at > _now - fresh_for)).scalar_one())


def _failed(problem: Problem, keep_for: timedelta) -> dict[str, Any]:
    times = {"finished_at": _now, "expires_at": _now + keep_for}
    return {"state": ExportState.FAILED, "error": problem.to_json(), **times}


def _write(conn: Connection, export: Export, **values: Any) -> bool:
    written = update(exports).where(_held(export)).values(**values)
    return conn.execute(written).rowcount == 1


def _held(export: Export) -> ColumnElement[bool]:
    running = exports.c.state == ExportState.RUNNING
    return and_(exports.c.id == export.id, exports.c.attempt == export.attempt, running)


def _export(row: Row[Any]) -> Export:
    return Export(
        id=row.id,
        batch_id=row.batch_id,
        owner_id=row.owner_id,
        format=Format(row.format),
        jobs=row.jobs,
        state=ExportState(row.state),
        attempt=row.attempt,
        progress=row.progress,
        object_key=row.object_key,
        bytes=row.bytes,
        created_at=row.created_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
        error=Problem.from_json(row.error) if row.error else None,
    )
