"""A batch from rows: copied in at once, looked through by the database, and stored whole or not at all."""

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.batches.records import LineFault, NewBatch, Origin
from shared.database import notify
from shared.errors import InvalidInput, InvalidLines, KeyReused, Problem, Unavailable
from shared.ids import uuid7
from shared.jobs import require_room
from shared.jobs.statements import now
from shared.states import State
from shared.tables import batch_errors, batches

INCOMING: dict[str, LiteralString] = {
    "line": "integer",
    "id": "uuid",
    "custom_id": "text",
    "image_id": "text",
    "source": "text",
    "task": "text",
    "inputs": "jsonb",
    "box_right": "double precision",
    "box_bottom": "double precision",
}
"""The columns of what is copied in. box_right, box_bottom: how far the boxes reach, in pixels."""

_REPORTED = 100
"""So many wrong lines are told of when a batch is refused for them."""

MOST_INVALID = 100_000
"""So many lines may be left out of a batch: each is kept, and told of."""


async def create(
    connection: AsyncConnection, new: NewBatch, rows: Iterable[bytes], faults: Sequence[LineFault]
) -> UUID:
    """Store a batch within the caller's transaction; one that the same request has made already stays as it is.

    rows: CSV in the order of INCOMING. faults: lines that were wrong before they got here.

    Raises KeyReused where another request has made the batch `new.id`, InvalidLines where lines are wrong that may not
    be left out, InvalidInput where no line is left, and LimitReached when too many of the owner's jobs wait.
    """
    if new.id is not None and await connection.run_sync(_is_made, new.id, new):
        return new.id
    await _copy(connection, rows)
    return await connection.run_sync(_create, new, faults)


def _is_made(conn: Connection, batch_id: UUID, new: NewBatch) -> bool:
    mine = batches.c.id == batch_id, batches.c.owner_id == new.owner_id
    made = conn.execute(select(batches.c.request_digest).where(*mine)).one_or_none()
    if made is not None and made.request_digest != new.request_digest:
        raise KeyReused(f"The key came with another body first, which made the batch {batch_id}.")
    return made is not None


def too_many_invalid() -> InvalidInput:
    return InvalidInput(
        "body", f"More than {MOST_INVALID:,} lines are wrong.", "See whether this is a manifest of this service at all."
    )


async def _copy(connection: AsyncConnection, rows: Iterable[bytes]) -> None:
    columns = ", ".join(f"{name} {type_}" for name, type_ in INCOMING.items())
    await connection.execute(text(f"CREATE TEMPORARY TABLE incoming ({columns}) ON COMMIT DROP"))
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, psycopg.AsyncConnection)
    try:
        async with driver.cursor() as cursor, cursor.copy("COPY incoming FROM STDIN WITH (FORMAT csv)") as copy:
            for block in rows:
                await copy.write(block)
    except psycopg.OperationalError as error:
        raise Unavailable("database") from error


def _create(conn: Connection, new: NewBatch, before: Sequence[LineFault]) -> UUID:
    conn.execute(text("ANALYZE incoming"))
    _lock_images(conn, new.owner_id)
    _name_uploads(conn, new)
    most = MOST_INVALID if new.skip else _REPORTED
    faults = sorted((*before, *_found(conn, new, most + 1)), key=lambda fault: fault.number)
    if faults and not new.skip:
        raise InvalidLines(
            [(fault.number, fault.problem) for fault in faults[:_REPORTED]],
            more=len(faults) > _REPORTED,
            of_list=new.origin is Origin.IMAGE_IDS,
        )
    if len(faults) > MOST_INVALID:
        raise too_many_invalid()
    if faults:
        conn.execute(text("DELETE FROM incoming WHERE line = ANY(:lines)"), {"lines": [each.number for each in faults]})
    count = conn.execute(text("SELECT count(*) FROM incoming")).scalar_one()
    if not count:
        raise _nothing_left(new.origin) if faults else _nothing_sent(new.origin)
    require_room(conn, new.owner_id, new.most_queued, count)
    batch_id = new.id or uuid7()
    values = {"id": batch_id, "owner_id": new.owner_id, "name": new.name, "priority": new.priority, "jobs": count}
    made_by = {"request_digest": new.request_digest}
    conn.execute(insert(batches).values(**values, **made_by, expires_at=now + new.ttl))
    if faults:
        conn.execute(insert(batch_errors), [_fault_row(batch_id, fault) for fault in faults])
    conn.execute(
        text(
            """
            INSERT INTO jobs
                (id, image_id, source, task, inputs, priority, expires_at, owner_id, batch_id, line, custom_id)
            SELECT incoming.id, image_id, source, task, inputs, batches.priority, batches.expires_at,
                   batches.owner_id, batches.id, line, custom_id
            FROM incoming CROSS JOIN batches WHERE batches.id = :batch ORDER BY line
            """
        ),
        {"batch": batch_id},
    )
    first = conn.execute(text("SELECT id FROM incoming ORDER BY line LIMIT 1")).scalar_one()
    # Of one, for all: whoever hears it looks for whatever is queued.
    notify(conn, first, State.QUEUED.value)
    return batch_id


def _lock_images(conn: Connection, owner_id: UUID) -> None:
    """Against `jobs.withdraw_image`, so that one either sees the jobs or is seen here; in order, against deadlock."""
    conn.execute(
        text(
            """
            WITH locked AS MATERIALIZED (
                SELECT 1 FROM images WHERE owner_id = :owner AND deleted_at IS NULL
                AND id IN (SELECT image_id FROM incoming) ORDER BY id FOR SHARE
            )
            SELECT count(*) FROM locked
            """
        ),
        {"owner": owner_id},
    )


def _name_uploads(conn: Connection, new: NewBatch) -> None:
    """An image that was only declared is taken in from its upload, which is kept for as long as its jobs may wait."""
    conn.execute(
        text(
            """
            WITH wanted AS (
                UPDATE uploads SET expires_at = greatest(expires_at, now() + :ttl)
                FROM (SELECT DISTINCT image_id FROM incoming) AS named
                WHERE uploads.owner_id = :owner AND sha256 = image_id AND expires_at > now() AND spent_at IS NULL
                AND NOT EXISTS (
                    SELECT 1 FROM images WHERE images.id = sha256 AND owner_id = :owner AND deleted_at IS NULL
                )
                RETURNING sha256, object_key
            )
            UPDATE incoming SET image_id = NULL, source = object_key FROM wanted WHERE image_id = sha256
            """
        ),
        {"owner": new.owner_id, "ttl": new.ttl},
    )


def _found(conn: Connection, new: NewBatch, most: int) -> list[LineFault]:
    """What only the database knows to be wrong; of each line its first fault, and of so many lines at most.

    A line that is left out takes its custom_id from no other.
    """
    rows = conn.execute(
        text(
            """
            WITH judged AS (
                SELECT line, custom_id, incoming.image_id, images.width, images.height,
                       incoming.image_id IS NOT NULL AND images.id IS NULL AS unknown,
                       coalesce(box_right > images.width OR box_bottom > images.height, false) AS outside
                FROM incoming LEFT JOIN images
                ON images.id = incoming.image_id AND images.owner_id = :owner AND images.deleted_at IS NULL
            ), seen AS (
                SELECT *, CASE WHEN custom_id IS NOT NULL AND NOT (:skip AND (unknown OR outside)) THEN
                    first_value(line) OVER (PARTITION BY custom_id, :skip AND (unknown OR outside) ORDER BY line)
                END AS first FROM judged
            )
            SELECT * FROM seen WHERE unknown OR first <> line OR outside ORDER BY line LIMIT :most
            """
        ),
        {"owner": new.owner_id, "skip": new.skip, "most": most},
    )
    of_list = new.origin is Origin.IMAGE_IDS
    return [LineFault(row.line, row.custom_id, _judged(row, of_list)) for row in rows]


def _judged(row: Any, of_list: bool) -> Problem:
    """of_list: an entry of `image_ids`, whose image is its name as well."""
    entry = f"image_ids[{row.line - 1}]"
    if row.unknown:
        error: InvalidInput = InvalidInput(
            entry if of_list else "image_id",
            f"There is no image {row.image_id}.",
            "Send or declare the image first.",
        )
    elif row.first is not None and row.first != row.line and of_list:
        error = InvalidInput(entry, f"image_ids[{row.first - 1}] is the same image.", "Name each image once.")
    elif row.first is not None and row.first != row.line:
        error = InvalidInput(
            "custom_id", f"Line {row.first} has the same custom_id.", "Give each job of a batch a custom_id of its own."
        )
    else:
        error = InvalidInput(
            entry if of_list else "boxes",
            f"A box leaves the image ({row.width} × {row.height}).",
            "Send boxes in pixels of the image.",
        )
    return error.to_problem()


def _nothing_left(origin: Origin) -> InvalidInput:
    """All of them were left out."""
    if origin is Origin.IMAGE_IDS:
        return InvalidInput("image_ids", "No entry of image_ids is a job.", "Name one image at least that is stored.")
    return InvalidInput("body", "No line of the manifest is a job.", "Send one job at least.")


def _nothing_sent(origin: Origin) -> InvalidInput:
    if origin is Origin.PREFIX:
        return InvalidInput(
            "s3.prefix",
            "No PNG, JPEG or WebP file has a key that begins with the prefix.",
            "Name the beginning of such keys; one that means a folder ends with a slash.",
        )
    return InvalidInput("body", "The manifest is empty.", "Send a line of JSON for each job.")


def _fault_row(batch_id: UUID, fault: LineFault) -> dict[str, Any]:
    return {
        "batch_id": batch_id,
        "line": fault.number,
        "custom_id": fault.custom_id,
        "problem": fault.problem.to_json(),
    }
