"""Where an accepted image goes, and how it is deleted.

Its bytes go into the object store first, then its row; a deletion marks the row first. Bytes are removed, and looked
for by whoever writes the row, under the lock of the row alone, so that no row of a stored image lacks its bytes.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.gateway import Gateway
from shared import jobs
from shared.access import Principal
from shared.errors import LimitReached, NotFound
from shared.images import CheckedImage
from shared.objects import key_of
from shared.tables import images


@dataclass(frozen=True)
class ImageRow:
    id: str
    object_key: str
    media_type: str
    width: int
    height: int
    bytes: int


async def find(gateway: Gateway, owner_id: UUID, image_id: str) -> ImageRow | None:
    """None for an image that the owner never stored, and for one that was deleted."""
    columns = [images.c[name] for name in ("id", "object_key", "media_type", "width", "height", "bytes")]
    statement = select(*columns).where(
        images.c.id == image_id, images.c.owner_id == owner_id, images.c.deleted_at.is_(None)
    )
    async with gateway.engine.connect() as connection:
        row = (await connection.execute(statement)).one_or_none()
    return None if row is None else ImageRow(*row)


async def keep(gateway: Gateway, owner: Principal, image: CheckedImage) -> None:
    """Put the bytes into the object store; those of a known image are sent again only if they have gone from there.

    Raises LimitReached.
    """
    known = await find(gateway, owner.owner_id, image.id)
    if known is None:
        await _require_room(gateway, owner, len(image.data))
    elif await gateway.on_network(gateway.objects.exists, known.object_key):
        return
    key = known.object_key if known else key_of(image.id, owner.owner_id)
    await gateway.on_network(gateway.objects.put, key, image.data, image.media_type)


async def _require_room(gateway: Gateway, owner: Principal, more: int) -> None:
    """Images that come at once may pass it together: a limit that is kept to within a few of them serves as well."""
    most = owner.limits.stored_bytes
    most = gateway.settings.max_stored_bytes if most is None else most
    if most is None:
        return
    stored = select(func.coalesce(func.sum(images.c.bytes), 0)).where(
        images.c.owner_id == owner.owner_id, images.c.deleted_at.is_(None)
    )
    async with gateway.engine.connect() as connection:
        if (await connection.execute(stored)).scalar_one() + more > most:
            raise LimitReached("stored_bytes", most, "bytes of images", "Delete images that are done with.")


async def record(gateway: Gateway, connection: AsyncConnection, owner_id: UUID, image: CheckedImage) -> bool:
    """Write the row of a kept image, or revive that of a deleted one; False when it is there already.

    A deletion may have taken the bytes since they were kept. None can any more until the transaction ends, for the row
    is locked now: so they are looked for here and sent once more.
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
    written = await connection.execute(
        row.on_conflict_do_update(
            index_elements=[images.c.id, images.c.owner_id],
            set_={"deleted_at": None},
            where=images.c.deleted_at.is_not(None),
        ).returning(images.c.object_key)
    )
    key = written.scalar_one_or_none()
    if key is not None and not await gateway.on_network(gateway.objects.exists, key):
        await gateway.on_network(gateway.objects.put, key, image.data, image.media_type)
    return key is not None


async def delete(gateway: Gateway, owner_id: UUID, image_id: str) -> None:
    """Its row says so first: if the object store fails then, deleting it once more finishes it. Raises NotFound."""
    async with gateway.engine.begin() as connection:
        key = await connection.run_sync(jobs.withdraw_image, image_id, owner_id)
    if key is None:
        raise NotFound("image", image_id)
    await erase(gateway, owner_id, image_id, key)


async def erase(gateway: Gateway, owner_id: UUID, image_id: str, key: str) -> None:
    """Remove a withdrawn image's bytes, unless it was sent again since."""
    async with gateway.engine.begin() as connection:
        if await connection.run_sync(jobs.withdrawn, image_id, owner_id):
            await gateway.on_network(gateway.objects.delete, key)
