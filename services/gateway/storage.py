"""Where an accepted image goes, and how it is deleted.

Its bytes go into the object store first, then its row; a deletion marks the row first. Bytes are removed, and looked
for by whoever writes the row, under the lock of the row alone, so that no row of a stored image lacks its bytes.
"""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.gateway import Gateway
from shared import jobs
from shared.errors import NotFound
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


async def find(gateway: Gateway, image_id: str) -> ImageRow | None:
    """None for an image that was never stored, and for one that was deleted."""
    columns = [images.c[name] for name in ("id", "object_key", "media_type", "width", "height", "bytes")]
    statement = select(*columns).where(images.c.id == image_id, images.c.deleted_at.is_(None))
    async with gateway.engine.connect() as connection:
        row = (await connection.execute(statement)).one_or_none()
    return None if row is None else ImageRow(*row)


async def keep(gateway: Gateway, image: CheckedImage) -> None:
    """Put the bytes into the object store; those of a known image are sent again only if they have gone from there."""
    known = await find(gateway, image.id)
    if known is None or not await gateway.on_network(gateway.objects.exists, known.object_key):
        await gateway.on_network(gateway.objects.put, image.id, image.data, image.media_type)


async def record(gateway: Gateway, connection: AsyncConnection, image: CheckedImage) -> bool:
    """Write the row of a kept image, or revive that of a deleted one; False when it is there already.

    A deletion may have taken the bytes since they were kept. None can any more until the transaction ends, for the row
    is locked now: so they are looked for here and sent once more.
    """
    row = insert(images).values(
        id=image.id,
        object_key=key_of(image.id),
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        bytes=len(image.data),
    )
    written = await connection.execute(
        row.on_conflict_do_update(
            index_elements=[images.c.id], set_={"deleted_at": None}, where=images.c.deleted_at.is_not(None)
        ).returning(images.c.object_key)
    )
    key = written.scalar_one_or_none()
    if key is not None and not await gateway.on_network(gateway.objects.exists, key):
        await gateway.on_network(gateway.objects.put, image.id, image.data, image.media_type)
    return key is not None


async def delete(gateway: Gateway, image_id: str) -> None:
    """Its row says so first: if the object store fails then, deleting it once more finishes it. Raises NotFound."""
    async with gateway.engine.begin() as connection:
        key = await connection.run_sync(jobs.withdraw_image, image_id)
    if key is None:
        raise NotFound("image", image_id)
    await erase(gateway, image_id, key)


async def erase(gateway: Gateway, image_id: str, key: str) -> None:
    """Remove a withdrawn image's bytes, unless it was sent again since."""
    async with gateway.engine.begin() as connection:
        if await connection.run_sync(jobs.withdrawn, image_id):
            await gateway.on_network(gateway.objects.delete, key)
