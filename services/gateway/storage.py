"""Where an accepted image goes: its bytes into the object store first, then its row, so that no row lacks its bytes."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.gateway import Gateway
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
    columns = [images.c[name] for name in ("id", "object_key", "media_type", "width", "height", "bytes")]
    async with gateway.engine.connect() as connection:
        row = (await connection.execute(select(*columns).where(images.c.id == image_id))).one_or_none()
    return None if row is None else ImageRow(*row)


async def keep(gateway: Gateway, image: CheckedImage) -> None:
    """Put the bytes into the object store; those of a known image are sent again only if they have gone from there."""
    known = await find(gateway, image.id)
    if known is None or not await gateway.on_network(gateway.objects.exists, known.object_key):
        await gateway.on_network(gateway.objects.put, image.id, image.data, image.media_type)


async def record(connection: AsyncConnection, image: CheckedImage) -> bool:
    """Write the row of a kept image; False when it is there already."""
    row = insert(images).values(
        id=image.id,
        object_key=key_of(image.id),
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        bytes=len(image.data),
    )
    written = await connection.execute(row.on_conflict_do_nothing().returning(images.c.id))
    return written.one_or_none() is not None
