"""Where an accepted image goes, how a request finds it, and how it is deleted.

The rule that is kept here is that of `shared.stored_images`.
"""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.gateway import Gateway
from shared import intake, jobs, stored_images, uploads
from shared.access import Principal
from shared.errors import Conflict, InvalidInput, NotFound
from shared.images import CheckedImage
from shared.objects import key_of
from shared.stored_images import ImageRow


async def find(gateway: Gateway, owner_id: UUID, image_id: str) -> ImageRow | None:
    """The owner's image, which may be an upload that is taken in now; None where it is neither.

    Raises NotFound for an upload that has not arrived, and InvalidInput and Conflict as `intake.first_use` does.
    """

    def look(connection: Connection) -> tuple[ImageRow | None, bool]:
        row = stored_images.find(connection, owner_id, image_id)
        return row, row is None and uploads.find(connection, owner_id, image_id) is not None

    async with gateway.engine.connect() as connection:
        row, declared = await connection.run_sync(look)
    if not declared:
        return row
    return await gateway.on_network(
        intake.first_use,
        gateway.transactions,
        gateway.objects,
        owner_id,
        image_id,
        gateway.limits,
        gateway.check_on_picture_thread,
    )


async def named(gateway: Gateway, owner_id: UUID, image_id: str) -> ImageRow:
    """The image that a request names in its field `image_id`. Raises InvalidInput, and Conflict for one to come."""
    try:
        row = await find(gateway, owner_id, image_id)
    except NotFound as error:
        raise Conflict(error.detail, field="image_id", remedy=error.remedy) from error
    if row is None:
        raise unknown(image_id)
    return row


def unknown(image_id: str) -> InvalidInput:
    remedy = "Send the image with POST /images or POST /images/uploads first."
    return InvalidInput("image_id", f"There is no image {image_id}.", remedy)


async def keep(gateway: Gateway, owner: Principal, image: CheckedImage) -> None:
    """Put the bytes into the object store; those of a known image are sent again only if they have gone from there.

    Raises LimitReached.
    """

    def look(connection: Connection) -> ImageRow | None:
        known = stored_images.find(connection, owner.owner_id, image.id)
        if known is None:
            require_room(connection, gateway, owner, {image.id: len(image.data)})
        return known

    async with gateway.engine.connect() as connection:
        known = await connection.run_sync(look)
    if known is not None and await gateway.on_network(gateway.objects.exists, known.object_key):
        return
    key = known.object_key if known else key_of(image.id, owner.owner_id)
    await gateway.on_network(gateway.objects.put, key, image.data, image.media_type)


def require_room(connection: Connection, gateway: Gateway, owner: Principal, more: Mapping[str, int]) -> None:
    """As `uploads.require_room`, by the owner's limit or the service's."""
    most = gateway.in_force(owner.limits).stored_bytes
    if most is None:
        return
    uploads.require_room(connection, owner.owner_id, most, more)


async def record(gateway: Gateway, connection: AsyncConnection, owner_id: UUID, image: CheckedImage) -> bool:
    """Write the row of a kept image, or revive that of a deleted one; False when it is there already."""
    key = await connection.run_sync(stored_images.write, owner_id, image)
    if key is not None and not await gateway.on_network(gateway.objects.exists, key):
        await gateway.on_network(gateway.objects.put, key, image.data, image.media_type)
    return key is not None


async def delete(gateway: Gateway, owner_id: UUID, image_id: str) -> None:
    """Delete an image, and an upload of it that was not used yet. Raises NotFound.

    The image's row says so before its bytes go: if the object store fails then, the scheduler finishes it, or deleting
    it once more.
    """
    async with gateway.engine.begin() as connection:
        upload = await connection.run_sync(uploads.lock, owner_id, image_id)
        arrived = upload is not None and await gateway.on_network(gateway.objects.exists, upload)
        if upload is not None and arrived:
            await gateway.on_network(gateway.objects.delete, upload)
        key = await connection.run_sync(jobs.withdraw_image, image_id, owner_id)
        if arrived or key is not None:
            await connection.run_sync(uploads.spend, owner_id, image_id)
    if key is not None:
        await erase(gateway, owner_id, image_id, key)
    elif not arrived:
        raise NotFound("image", image_id)


async def erase(gateway: Gateway, owner_id: UUID, image_id: str, key: str) -> None:
    """Remove a withdrawn image's bytes, unless it was sent again since."""
    async with gateway.engine.begin() as connection:
        if await connection.run_sync(jobs.withdrawn, image_id, owner_id):
            await gateway.on_network(gateway.objects.delete, key)
            await connection.run_sync(stored_images.mark_erased, owner_id, image_id)
