"""The succeeded jobs of a batch from the database, a page at a time."""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import Connection, and_, literal_column, select, tuple_

from services.scheduler.exports.records import ExportedImage, ExportedJob
from shared.jobs import State, results_of
from shared.tables import images, jobs
from shared.tasks import Ask
from shared.transactions import Transactions

PAGE = 200
"""Jobs. Each page is a transaction of its own, so nothing is held in the database while a page is written out."""

_SUCCEEDED = jobs.c.state == literal_column(f"'{State.SUCCEEDED}'")
_COLUMNS = [jobs.c[name] for name in ("id", "custom_id", "line", "image_id", "task", "inputs", "finished_at")]


def read(transactions: Transactions, batch_id: UUID, page: int = PAGE) -> Iterator[ExportedJob]:
    """Every job once, ordered by image and line: those of one image follow each other. Raises Unavailable."""
    last: ExportedJob | None = None
    while True:
        found = transactions.run(lambda conn, after=last: _page(conn, batch_id, after, page))  # type: ignore[misc]
        yield from found
        if len(found) < page:
            return
        last = found[-1]


def _page(conn: Connection, batch_id: UUID, after: ExportedJob | None, size: int) -> list[ExportedJob]:
    on_image = and_(images.c.id == jobs.c.image_id, images.c.owner_id == jobs.c.owner_id)
    statement = (
        select(*_COLUMNS, images.c.media_type, images.c.width, images.c.height)
        .join(images, on_image)
        .where(jobs.c.batch_id == batch_id, _SUCCEEDED)
        .order_by(jobs.c.image_id, jobs.c.line)
        .limit(size)
    )
    if after is not None:
        statement = statement.where(tuple_(jobs.c.image_id, jobs.c.line) > tuple_(after.image.id, after.line))
    rows = conn.execute(statement).all()
    results = results_of(conn, [row.id for row in rows])
    return [
        ExportedJob(
            id=row.id,
            custom_id=row.custom_id,
            line=row.line,
            image=ExportedImage(row.image_id, row.media_type, row.width, row.height),
            ask=Ask.restored(row.task, row.inputs),
            result=results[row.id],
            finished_at=row.finished_at,
        )
        for row in rows
    ]
