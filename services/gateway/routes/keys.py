"""API keys: made, listed and revoked by whoever has one with the scope `admin`."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request, status
from pydantic import ValidationError
from sqlalchemy import Connection

from services.gateway import examples, openapi, paging
from services.gateway.body import read_json
from services.gateway.callers import Admin
from services.gateway.errors import from_pydantic
from services.gateway.gateway import Current
from services.gateway.presentation import allowance_json, key_json
from services.gateway.repeatable import NewId, repeatable
from shared import access, jobs, schema, uploads
from shared.errors import InvalidInput, NotFound
from shared.logs import get_logger

router = APIRouter(tags=["keys"])
log = get_logger(__name__)

OwnerName = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[^\x00]+$")]

_KEY = openapi.json_body({"$ref": openapi.ref("KeyRequest")}, examples.KEY_REQUESTS)
_LIMITS = openapi.json_body({"$ref": openapi.ref("OwnerLimits")}, examples.LIMIT_REQUESTS)


@router.post(
    "/keys",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=_KEY,
    responses={
        201: openapi.example("Made", examples.CREATED_KEY),
        **openapi.guarded(409, 413, 415, 422, 503, conflict=openapi.KEY_MADE),
    },
)
@repeatable(secret_of="key")
async def create_key(request: Request, gateway: Current, caller: Admin, new_id: NewId) -> schema.CreatedKey:
    """Make a key for an owner, who is made along with the first. Its secret is in this answer and nowhere else.

    So a repetition with the same Idempotency-Key makes no second key, and does not show the secret of the first either.
    """
    try:
        asked = schema.KeyRequest.model_validate_json(await read_json(request))
    except ValidationError as error:
        raise from_pydantic(error) from error

    if asked.expires_at is not None and asked.expires_at <= datetime.now(UTC):
        raise InvalidInput("expires_at", f"{asked.expires_at.isoformat()} has passed.", "Send a time to come, or null.")

    def create(connection: Connection) -> tuple[access.Key, str]:
        return access.create_key(connection, asked.owner, asked.scopes, asked.name, asked.expires_at, key_id=new_id)

    async with gateway.engine.begin() as connection:
        key, secret = await connection.run_sync(create)
    log.info("key.made", key_id=str(key.id), owner_of_key=key.owner, scopes=sorted(key.scopes))
    return schema.CreatedKey(**key_json(key).model_dump(), secret=secret)


@router.get("/keys", responses={200: openapi.example("A page", examples.KEYS), **openapi.guarded(422, 503)})
async def list_keys(
    gateway: Current, caller: Admin, cursor: paging.Cursor = None, limit: paging.Limit = paging.LIMIT
) -> schema.Keys:
    """Every key of every owner, the newest first, without its secret."""
    async with gateway.engine.connect() as connection:
        found = await connection.run_sync(access.keys_page, paging.behind(cursor, UUID), limit + 1)
    page, following = paging.cut(found, limit, lambda entry: (entry.id,))
    return schema.Keys(keys=[key_json(key) for key in page], next=following)


@router.delete(
    "/keys/{key_id}", responses={200: openapi.example("Revoked", examples.KEY), **openapi.guarded(404, 422, 503)}
)
async def revoke_key(key_id: UUID, gateway: Current, caller: Admin) -> schema.Key:
    """Let a key open nothing any more, within seconds. What its owner has stays."""
    async with gateway.engine.begin() as connection:
        key = await connection.run_sync(access.revoke_key, key_id)
    if key is None:
        raise NotFound("key", key_id)
    log.info("key.revoked", key_id=str(key.id), owner_of_key=key.owner)
    return key_json(key)


@router.get(
    "/owners/{name}/limits",
    responses={200: openapi.example("The owner's", examples.ALLOWANCE), **openapi.guarded(404, 422, 503)},
)
async def get_limits(name: OwnerName, gateway: Current, caller: Admin) -> schema.Allowance:
    """What an owner may take, by its own limits or the service's settings, and how much of it is taken."""

    def look(connection: Connection) -> tuple[access.OwnerLimits, schema.LimitsUsed]:
        owner_id = access.find_owner(connection, name)
        if owner_id is None:
            raise NotFound("owner", name)
        used = schema.LimitsUsed(
            stored_bytes=uploads.stored_bytes(connection, owner_id),
            queued_jobs=jobs.count_queued(connection, owner_id),
        )
        return access.limits_of(connection, owner_id), used

    async with gateway.engine.connect() as connection:
        own, used = await connection.run_sync(look)
    return allowance_json(name, own, gateway.in_force(own), used)


@router.put(
    "/owners/{name}/limits",
    openapi_extra=_LIMITS,
    responses={200: openapi.example("Set", examples.LIMITS), **openapi.guarded(404, 413, 415, 422, 503)},
)
async def set_limits(name: OwnerName, request: Request, gateway: Current, caller: Admin) -> schema.OwnerLimits:
    """Replace what an owner may take; what is null is as the service's settings have it."""
    try:
        asked = schema.OwnerLimits.model_validate_json(await read_json(request))
    except ValidationError as error:
        raise from_pydantic(error) from error
    limits = access.OwnerLimits(asked.requests_per_minute, asked.stored_bytes, asked.queued_jobs)
    async with gateway.engine.begin() as connection:
        found = await connection.run_sync(access.set_limits, name, limits)
    if not found:
        raise NotFound("owner", name)
    return asked
