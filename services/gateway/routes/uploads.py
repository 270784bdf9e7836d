"""Direct uploads: images that clients put into the object store by themselves, so that their bytes never pass here."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from fastapi import APIRouter, Request
from pydantic import ValidationError
from sqlalchemy import Connection, select

from services.gateway import examples, openapi, storage
from services.gateway.body import read_json
from services.gateway.callers import Writer
from services.gateway.errors import from_pydantic
from services.gateway.gateway import Current, Gateway
from services.gateway.repeatable import repeatable
from shared import schema, uploads
from shared.access import Principal
from shared.errors import InvalidInput, NotFound, TooLarge
from shared.logs import get_logger
from shared.objects import upload_key_of
from shared.tables import images
from shared.uploads import Declared

router = APIRouter(tags=["images"])
log = get_logger(__name__)

_SIGNING_SECONDS = 60
_LOOKS = 8
"""Looks into the object store at once for a request, so that other requests find threads free."""
_UPLOADS = openapi.json_body({"$ref": openapi.ref("UploadsRequest")}, examples.UPLOAD_REQUESTS)


@router.post(
    "/images/uploads",
    openapi_extra=_UPLOADS,
    responses={
        200: openapi.example("Declared", examples.UPLOADS),
        **openapi.guarded(409, 413, 415, 422, 503, conflict=openapi.UNDER_WAY),
    },
)
@repeatable()
async def declare_uploads(request: Request, gateway: Current, caller: Writer) -> schema.Uploads:
    """Declare images, and get a presigned request for each that is not stored yet. Send them in parallel.

    Their ids may be used as soon as the bytes are there: the first use checks size, sha256 and picture. What is not
    used within a day of its declaration, or what the service is set to, is removed. Declaring an image again gives
    another URL, and tells whether its bytes have arrived.
    """
    try:
        asked = schema.UploadsRequest.model_validate_json(await read_json(request))
    except ValidationError as error:
        raise from_pydantic(error) from error
    wanted = _distinct(asked, gateway.settings.max_image_bytes)
    async with gateway.engine.begin() as connection:
        known = await connection.run_sync(_declare, gateway, caller, wanted)
    # From here on no sweep removes what is found.
    arrived = await _arrived(gateway, caller, [wanted[sha256] for sha256 in known.expected])
    log.info("uploads.declared", images=len(wanted), stored=len(known.stored), arrived=len(arrived))
    missing = [one for sha256, one in wanted.items() if sha256 not in known.stored]
    signed = await gateway.on_network(_sign, gateway, caller, missing)
    told = {
        sha256: schema.ExpectedUpload(
            id=sha256, stored=sha256 in known.stored, arrived=sha256 in arrived, upload=signed.get(sha256)
        )
        for sha256 in wanted
    }
    return schema.Uploads(images=[told[one.sha256] for one in asked.images])


@dataclass(frozen=True)
class _Known:
    """Ids of what was declared now. expected: those not stored that had been declared before."""

    stored: set[str]
    expected: set[str]


def _distinct(asked: schema.UploadsRequest, most: int) -> dict[str, Declared]:
    """By sha256: a list may name an image twice, if it says the same of it. Raises InvalidInput."""
    wanted: dict[str, Declared] = {}
    for n, one in enumerate(asked.images):
        declared = Declared(one.sha256, one.bytes, one.media_type)
        if one.bytes > most:
            raise TooLarge(
                f"images[{n}].bytes", f"{one.bytes:,} bytes are too many for an image.", f"Send at most {most:,} bytes."
            )
        if wanted.setdefault(one.sha256, declared) != declared:
            raise InvalidInput(
                f"images[{n}]",
                f"The image {one.sha256} was declared otherwise before in this list.",
                "Declare it once.",
            )
    return wanted


def _declare(connection: Connection, gateway: Gateway, caller: Principal, wanted: dict[str, Declared]) -> _Known:
    """Expect those that are not stored. Raises LimitReached."""
    mine = images.c.owner_id == caller.owner_id, images.c.deleted_at.is_(None)
    stored = set(connection.execute(select(images.c.id).where(*mine, images.c.id.in_(list(wanted)))).scalars())
    missing = [one for sha256, one in wanted.items() if sha256 not in stored]
    expected = uploads.expected(connection, caller.owner_id, [one.sha256 for one in missing])
    storage.require_room(connection, gateway, caller, {one.sha256: one.bytes for one in missing})
    ttl = timedelta(seconds=gateway.settings.upload_ttl_seconds)
    # The last of them is signed a moment later.
    urls_for = timedelta(seconds=gateway.settings.upload_url_seconds + _SIGNING_SECONDS)
    uploads.declare(connection, caller.owner_id, missing, ttl, urls_for)
    return _Known(stored, expected)


async def _arrived(gateway: Gateway, caller: Principal, expected: list[Declared]) -> set[str]:
    """The ids of those whose bytes are there, by their number. Raises Unavailable."""
    shares = [share for n in range(_LOOKS) if (share := expected[n::_LOOKS])]
    found = await asyncio.gather(*(gateway.on_network(_look, gateway, caller, share) for share in shares))
    return set().union(*found)


def _look(gateway: Gateway, caller: Principal, expected: list[Declared]) -> set[str]:
    """For a thread."""
    arrived: set[str] = set()
    for one in expected:
        try:
            found = gateway.objects.stat(upload_key_of(one.sha256, caller.owner_id))
        except NotFound:
            continue
        if found.bytes == one.bytes:
            arrived.add(one.sha256)
    return arrived


def _sign(gateway: Gateway, caller: Principal, missing: list[Declared]) -> dict[str, schema.SignedRequest]:
    """For a thread: a thousand signatures take a while."""
    expires = timedelta(seconds=gateway.settings.upload_url_seconds)
    signed: dict[str, schema.SignedRequest] = {}
    for one in missing:
        key = upload_key_of(one.sha256, caller.owner_id)
        put = gateway.objects.presign_put(key, one.bytes, one.media_type, expires)
        signed[one.sha256] = schema.SignedRequest(
            method=put.method, url=put.url, headers=put.headers, expires_at=put.expires_at
        )
    return signed
