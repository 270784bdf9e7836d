"""Where an accepted image goes: its bytes into the object store first, then its row, so that no row lacks its bytes."""

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


async def record(connection: AsyncConnection, image: CheckedImage) -> bool:
    """Write the row of a kept image, or revive that of a deleted one; False when it is there already."""
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
        ).returning(images.c.id)
    )
    return written.one_or_none() is not None


async def delete(gateway: Gateway, image_id: str) -> None:
    """Its row says so first: if the object store fails then, deleting it once more finishes it. Raises NotFound."""
    async with gateway.engine.begin() as connection:
        key = await connection.run_sync(jobs.withdraw_image, image_id)
    if key is None:
        raise NotFound("image", image_id)
    await gateway.on_network(gateway.objects.delete, key)
