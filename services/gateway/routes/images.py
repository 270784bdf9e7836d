"""Images: stored once, under the hash of their bytes."""

from typing import Any

from fastapi import APIRouter, Request, Response, status

from services.gateway import examples, openapi, storage
from services.gateway.body import read_image
from services.gateway.callers import Reader, Writer
from services.gateway.etags import REVALIDATED, IfNoneMatch, etag, not_modified
from services.gateway.gateway import Current
from services.gateway.presentation import image_json
from services.gateway.repeatable import repeatable
from shared import schema
from shared.errors import NotFound
from shared.objects import key_of
from shared.stored_images import ImageRow

router = APIRouter(tags=["images"])

_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            **{kind: {"schema": openapi.BINARY} for kind in openapi.IMAGE_TYPES},
            "multipart/form-data": {"schema": openapi.form(image=openapi.BINARY)},
        },
    }
}


@router.post(
    "/images",
    status_code=status.HTTP_201_CREATED,
    response_model=schema.StoredImage,
    openapi_extra=_UPLOAD,
    responses={
        200: openapi.example("There already", examples.KNOWN_IMAGE, *openapi.OF_A_NEW_ONE, model=schema.StoredImage),
        201: openapi.example("Stored", examples.STORED_IMAGE, *openapi.OF_A_NEW_ONE),
        **openapi.guarded(409, 413, 415, 422, 503, conflict=openapi.UNDER_WAY),
    },
)
@repeatable()
async def upload_image(request: Request, response: Response, gateway: Current, caller: Writer) -> schema.StoredImage:
    """Store an image: PNG, JPEG or WebP, 8 bits a channel, RGB, grey or palette, opaque, not animated.

    Send the file as the body, or as the file `image` of a form. It is stored as it is; its id is the sha256 of its
    bytes. Width and height are those of the upright picture: EXIF rotation is applied.
    """
    image = await gateway.check(await read_image(request, gateway.limits))
    await storage.keep(gateway, caller, image)
    async with gateway.engine.begin() as connection:
        created = await storage.record(gateway, connection, caller.owner_id, image)
    key = key_of(image.id, caller.owner_id)
    row = ImageRow(image.id, key, image.media_type, image.width, image.height, len(image.data))
    response.status_code = status.HTTP_201_CREATED if created else status.HTTP_200_OK
    response.headers["Location"] = f"{request.scope['root_path']}/images/{image.id}"
    return image_json(row, created)


@router.get(
    "/images/{image_id}",
    response_model=schema.StoredImage,
    responses={
        200: openapi.example("Known", examples.KNOWN_IMAGE, *openapi.OF_A_TAGGED_ANSWER),
        304: openapi.NOT_MODIFIED,
        **openapi.guarded(404, 409, 413, 415, 422, 503, conflict=openapi.CHANGED),
    },
)
async def get_image(
    image_id: schema.ImageId, response: Response, gateway: Current, caller: Reader, known: IfNoneMatch
) -> schema.StoredImage | Response:
    """Whether an image is stored, asked by the sha256 of its bytes: a client can save itself an upload.

    One that was declared with POST /images/uploads, and has arrived, is checked now if it was not yet.
    """
    row = await storage.find(gateway, caller.owner_id, image_id)
    if row is None:
        raise NotFound("image", image_id)
    tag = etag(row.id)  # the hash of its bytes: all that is said of them follows from it
    if tag in known:
        return not_modified(tag, REVALIDATED)
    response.headers.update({"ETag": tag, "Cache-Control": REVALIDATED})
    return image_json(row, created=False)


@router.delete(
    "/images/{image_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses={204: {"description": "Its bytes are gone"}, **openapi.guarded(404, 422, 503)},
)
async def delete_image(image_id: schema.ImageId, gateway: Current, caller: Writer) -> None:
    """Delete an image's bytes, used or only uploaded. Unfinished jobs on it are canceled; results that are there stay.

    What the model made of it is forgotten when its time in the features store runs out. Sending the image again stores
    it again.
    """
    await storage.delete(gateway, caller.owner_id, image_id)
