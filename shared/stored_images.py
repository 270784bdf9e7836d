"""Rows of `images`, and the rule by which their bytes come and go.

The bytes of an image are in the object store before its row can be seen; a deletion marks the row first. Bytes are
removed, and looked for by whoever writes the row, under the lock of the row alone, so that no row of a stored image
lacks its bytes. A row that is marked and not `erased_at` still has bytes to remove: whoever finds one may do it.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, exists, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from shared.images import CheckedImage
from shared.objects import UPLOADS, ObjectStore, key_of
from shared.tables import images, jobs


@dataclass(frozen=True)
class ImageRow:
    id: str
    object_key: str
    media_type: str
    width: int
    height: int
    bytes: int


def find(conn: Connection, owner_id: UUID, image_id: str) -> ImageRow | None:
    """None for an image that the owner never stored, and for one that was deleted."""
    columns = [images.c[name] for name in ("id", "object_key", "media_type", "width", "height", "bytes")]
    row = conn.execute(
        select(*columns).where(images.c.id == image_id, images.c.owner_id == owner_id, images.c.deleted_at.is_(None))
    ).one_or_none()
    return None if row is None else ImageRow(*row)


def write(conn: Connection, owner_id: UUID, image: CheckedImage) -> str | None:
    """Write the row of an image, or revive that of a deleted one; None when it is there already.

    The row is locked from now on in any case. The caller sees to it, before it commits, that the bytes are under the
    key that is returned: a deletion may have taken them, and none can take them any more.
    """
    row = insert(images).values(
        id=image.id,
        owner_id=owner_id,
        object_key=key_of(image.id, owner_id),
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        bytes=len(image.data),
    )
    key: str | None = conn.execute(
        row.on_conflict_do_update(
            index_elements=[images.c.id, images.c.owner_id],
            set_={"deleted_at": None, "erased_at": None, "created_at": func.now()},
            where=images.c.deleted_at.is_not(None),
        ).returning(images.c.object_key)
    ).scalar_one_or_none()
    return key


def mark_erased(conn: Connection, owner_id: UUID, image_id: str) -> None:
    """Say of a deleted image, whose row the caller has locked, that its bytes are removed."""
    conn.execute(
        update(images).where(images.c.id == image_id, images.c.owner_id == owner_id).values(erased_at=func.now())
    )


def delete_old(conn: Connection, age: timedelta, most: int) -> int:
    """Mark images as deleted that were stored longer ago and that no unfinished job needs; how many."""
    needed = exists(
        select(jobs.c.id).where(
            or_(
                jobs.c.image_id == images.c.id,
                jobs.c.source == func.concat(UPLOADS, images.c.owner_id, "/", images.c.id),
            ),
            jobs.c.owner_id == images.c.owner_id,
            jobs.c.finished_at.is_(None),
        )
    )
    old = (
        select(images.c.id, images.c.owner_id)
        .where(images.c.deleted_at.is_(None), images.c.created_at <= func.now() - age, ~needed)
        .order_by(images.c.created_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    chosen = [tuple(row) for row in conn.execute(old)]
    if not chosen:
        return 0
    # Looked at again: before the rows were locked, a job may have come that the first look did not see.
    marked = update(images).where(tuple_(images.c.id, images.c.owner_id).in_(chosen), ~needed)
    return conn.execute(marked.values(deleted_at=func.now())).rowcount


def erase_deleted(conn: Connection, objects: ObjectStore, most: int) -> int:
    """Remove the bytes of images that are marked as deleted; of how many."""
    rows = conn.execute(
        select(images.c.id, images.c.owner_id, images.c.object_key)
        .where(images.c.deleted_at.is_not(None), images.c.erased_at.is_(None))
        .order_by(images.c.deleted_at)
        .limit(most)
        .with_for_update(key_share=True, skip_locked=True)
    ).all()
    if not rows:
        return 0
    objects.delete_all(row.object_key for row in rows)
    erased = tuple_(images.c.id, images.c.owner_id).in_([(row.id, row.owner_id) for row in rows])
    conn.execute(update(images).where(erased).values(erased_at=func.now()))
    return len(rows)
