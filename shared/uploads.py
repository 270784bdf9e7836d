"""Uploads that clients declare and then put into the object store by themselves.

A declaration outlives its presigned URLs, and its first use as well: whatever a URL may still put under the key is
removed when the declaration is swept. Once it is used, or deleted, it is spent: to be used again it is declared anew.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, and_, delete, func, null, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from shared.errors import LimitReached
from shared.objects import ObjectStore, upload_key_of
from shared.tables import images, uploads

_counts = and_(uploads.c.expires_at > func.now(), uploads.c.spent_at.is_(None))
"""Its bytes are expected, or there."""


@dataclass(frozen=True)
class Declared:
    """What is said of bytes that nobody has checked. sha256: hex."""

    sha256: str
    bytes: int
    media_type: str


def declare(
    conn: Connection, owner_id: UUID, wanted: Collection[Declared], ttl: timedelta, urls_for: timedelta
) -> None:
    """Expect these uploads of the owner for so long from now on. What was declared before of the same bytes is over.

    urls_for: how long URLs that are given out now will take them.
    """
    if not wanted:
        return
    statement = insert(uploads).values(
        [
            {
                "owner_id": owner_id,
                "sha256": one.sha256,
                "bytes": one.bytes,
                "media_type": one.media_type,
                "object_key": upload_key_of(one.sha256, owner_id),
                "expires_at": func.now() + ttl,
                "urls_until": func.now() + urls_for,
            }
            # In one order, so that two requests for the same ones wait for each other and do not lock each other out.
            for one in sorted(wanted, key=lambda one: one.sha256)
        ]
    )
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=[uploads.c.owner_id, uploads.c.sha256],
            set_={
                **{name: statement.excluded[name] for name in ("bytes", "media_type")},
                # A batch may have asked for more time.
                "expires_at": func.greatest(uploads.c.expires_at, statement.excluded.expires_at),
                "urls_until": func.greatest(uploads.c.urls_until, statement.excluded.urls_until),
                "spent_at": null(),
            },
        )
    )


def expected(conn: Connection, owner_id: UUID, hashes: Collection[str]) -> set[str]:
    """Those of them that the owner has declared, whose bytes may be there."""
    mine = uploads.c.owner_id == owner_id, uploads.c.sha256.in_(list(hashes))
    return set(conn.execute(select(uploads.c.sha256).where(*mine, _counts)).scalars())


def find(conn: Connection, owner_id: UUID, sha256: str) -> Declared | None:
    """None for an upload that the owner did not declare, or too long ago, or that is spent."""
    row = conn.execute(
        select(uploads.c.sha256, uploads.c.bytes, uploads.c.media_type).where(
            uploads.c.owner_id == owner_id, uploads.c.sha256 == sha256, _counts
        )
    ).one_or_none()
    return None if row is None else Declared(*row)


def lock(conn: Connection, owner_id: UUID, sha256: str) -> str | None:
    """The key of the owner's upload, which nobody else takes in, deletes or sweeps until the transaction ends.

    None where there is none, or no more.
    """
    mine = uploads.c.owner_id == owner_id, uploads.c.sha256 == sha256
    key: str | None = conn.execute(select(uploads.c.object_key).where(*mine).with_for_update()).scalar_one_or_none()
    return key


def spend(conn: Connection, owner_id: UUID, sha256: str) -> None:
    """The owner's upload was used or deleted. Once its last URL has ended it is swept, with what else that brought."""
    mine = uploads.c.owner_id == owner_id, uploads.c.sha256 == sha256
    ends = func.least(uploads.c.expires_at, uploads.c.urls_until)
    conn.execute(update(uploads).where(*mine).values(spent_at=func.now(), expires_at=ends))


def require_room(conn: Connection, owner_id: UUID, most: int, more: Mapping[str, int]) -> None:
    """Refuse images, by their ids, of so many bytes each, where the owner would have more than `most`.

    Images that come at once may pass the limit together: one that is kept to within a few of them serves as well.
    Raises LimitReached.
    """
    if stored_bytes(conn, owner_id, more) + sum(more.values()) > most:
        raise LimitReached("stored_bytes", most, "bytes of images", "Delete images that are done with.")


def stored_bytes(conn: Connection, owner_id: UUID, besides: Collection[str] = ()) -> int:
    """Of all images of an owner; uploads count from their declaration on, but for those of the ids `besides`."""
    mine = images.c.owner_id == owner_id, images.c.deleted_at.is_(None)
    stored = select(func.coalesce(func.sum(images.c.bytes), 0)).where(*mine)
    expected = select(func.coalesce(func.sum(uploads.c.bytes), 0)).where(
        uploads.c.owner_id == owner_id,
        # Spent ones as well: a URL may still bring bytes.
        uploads.c.expires_at > func.now(),
        uploads.c.sha256.not_in(list(besides)),
        uploads.c.sha256.not_in(select(images.c.id).where(*mine)),
    )
    return sum(int(conn.execute(part).scalar_one()) for part in (stored, expected))


def sweep(conn: Connection, objects: ObjectStore, most: int) -> int:
    """Forget uploads whose time is over, and remove what was put under their keys; how many."""
    rows = conn.execute(
        select(uploads.c.owner_id, uploads.c.sha256, uploads.c.object_key)
        .where(uploads.c.expires_at <= func.now())
        .order_by(uploads.c.expires_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    if not rows:
        return 0
    objects.delete_all(row.object_key for row in rows)
    swept = tuple_(uploads.c.owner_id, uploads.c.sha256).in_([(row.owner_id, row.sha256) for row in rows])
    conn.execute(delete(uploads).where(swept))
    return len(rows)
