"""Webhooks: where events are sent, and what came of sending them."""

from typing import TypeVar
from uuid import UUID

from fastapi import APIRouter, Request, Response, status
from pydantic import BaseModel, ValidationError

from services.gateway import examples, openapi, paging
from services.gateway.body import read_json
from services.gateway.callers import Reader, Writer
from services.gateway.errors import from_pydantic
from services.gateway.gateway import Current, Gateway
from services.gateway.paging import LIMIT, Cursor, Limit
from services.gateway.presentation import delivery_json, webhook_json
from services.gateway.repeatable import NewId, repeatable
from shared import addresses, schema
from shared.errors import NotFound
from shared.logs import get_logger
from shared.webhooks import deliveries, endpoints
from shared.webhooks.endpoints import Change, Endpoint

router = APIRouter(tags=["webhooks"])
log = get_logger(__name__)

_REQUEST = openapi.json_body({"$ref": openapi.ref("WebhookRequest")}, examples.WEBHOOK_REQUESTS)
_CHANGE = openapi.json_body({"$ref": openapi.ref("WebhookChange")}, examples.WEBHOOK_CHANGES)

Asked = TypeVar("Asked", bound=BaseModel)
Found = TypeVar("Found")


@router.post(
    "/webhooks",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=_REQUEST,
    responses={
        201: openapi.example("Made", examples.CREATED_WEBHOOK),
        **openapi.guarded(409, 413, 415, 422, 503, conflict=openapi.KEY_MADE),
    },
)
@repeatable(secret_of="webhook")
async def create_webhook(
    request: Request, response: Response, gateway: Current, caller: Writer, new_id: NewId
) -> schema.CreatedWebhook:
    """Have events sent to a URL, signed by the Standard Webhooks specification. The secret is in this answer alone."""
    asked = await _read(request, schema.WebhookRequest)
    url = await _judged(gateway, asked.url)
    async with gateway.engine.begin() as connection:
        endpoint, secret = await connection.run_sync(
            endpoints.create,
            caller.owner_id,
            url,
            set(asked.events),
            asked.description,
            gateway.settings.max_webhooks,
            new_id,
        )
    log.info("webhook.made", webhook_id=str(endpoint.id), events=endpoint.events)
    response.headers["Location"] = f"{request.scope['root_path']}/webhooks/{endpoint.id}"
    return _with_secret(endpoint, secret)


@router.get("/webhooks", responses={200: openapi.example("A page", examples.WEBHOOKS), **openapi.guarded(422, 503)})
async def list_webhooks(
    gateway: Current, caller: Reader, cursor: Cursor = None, limit: Limit = LIMIT
) -> schema.Webhooks:
    """The owner's webhooks, the newest first."""
    async with gateway.engine.connect() as connection:
        found = await connection.run_sync(endpoints.page, caller.owner_id, paging.behind(cursor, UUID), limit + 1)
    page, following = paging.cut(found, limit, lambda entry: (entry.id,))
    return schema.Webhooks(webhooks=[webhook_json(endpoint) for endpoint in page], next=following)


@router.get(
    "/webhooks/{webhook_id}",
    responses={200: openapi.example("The webhook", examples.WEBHOOK), **openapi.guarded(404, 422, 503)},
)
async def get_webhook(webhook_id: UUID, gateway: Current, caller: Reader) -> schema.Webhook:
    """A webhook, without its secret."""
    async with gateway.engine.connect() as connection:
        endpoint = await connection.run_sync(endpoints.get, webhook_id, caller.owner_id)
    return webhook_json(_there(endpoint, webhook_id))


@router.patch(
    "/webhooks/{webhook_id}",
    openapi_extra=_CHANGE,
    responses={200: openapi.example("Changed", examples.WEBHOOK), **openapi.guarded(404, 413, 415, 422, 503)},
)
async def change_webhook(webhook_id: UUID, request: Request, gateway: Current, caller: Writer) -> schema.Webhook:
    """Send elsewhere, send other events, or stop and begin again. What has failed counts no more then.

    What happens while a webhook is disabled is not sent later. What was due before that is, if it is enabled in time.
    """
    asked = await _read(request, schema.WebhookChange)
    change = Change(
        url=None if asked.url is None else await _judged(gateway, asked.url),
        events=None if asked.events is None else set(asked.events),
        description=asked.description,
        enabled=asked.enabled,
    )
    async with gateway.engine.begin() as connection:
        endpoint = await connection.run_sync(endpoints.change, webhook_id, caller.owner_id, change)
    return webhook_json(_there(endpoint, webhook_id))


@router.delete(
    "/webhooks/{webhook_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=openapi.guarded(404, 422, 503),
)
async def delete_webhook(webhook_id: UUID, gateway: Current, caller: Writer) -> None:
    """Forget a webhook and its log. What is due to it is not sent."""
    async with gateway.engine.begin() as connection:
        if not await connection.run_sync(endpoints.remove, webhook_id, caller.owner_id):
            raise NotFound("webhook", webhook_id)
    log.info("webhook.deleted", webhook_id=str(webhook_id))


@router.post(
    "/webhooks/{webhook_id}/rotate",
    responses={
        200: openapi.example("A new secret", examples.CREATED_WEBHOOK),
        **openapi.guarded(404, 409, 422, 503, conflict=openapi.KEY_MADE),
    },
)
@repeatable(secret_of="secret", shows_id=False)
async def rotate_secret(
    webhook_id: UUID, request: Request, gateway: Current, caller: Writer, new_id: NewId
) -> schema.CreatedWebhook:
    """Give a webhook a new secret. For 24 hours deliveries are signed with the one before, too."""
    async with gateway.engine.begin() as connection:
        rotated = await connection.run_sync(endpoints.rotate, webhook_id, caller.owner_id, new_id)
    endpoint, secret = _there(rotated, webhook_id)
    log.info("webhook.secret_rotated", webhook_id=str(webhook_id))
    return _with_secret(endpoint, secret)


@router.post(
    "/webhooks/{webhook_id}/test",
    status_code=status.HTTP_202_ACCEPTED,
    responses={202: openapi.example("On its way", examples.TEST_DELIVERY), **openapi.guarded(404, 409, 422, 503)},
)
@repeatable()
async def test_webhook(
    webhook_id: UUID, request: Request, gateway: Current, caller: Writer, new_id: NewId
) -> schema.Delivery:
    """Send an event `webhook.test` now, whatever the webhook subscribes to. Its log says what came of it."""
    async with gateway.engine.begin() as connection:
        delivery_id = await connection.run_sync(endpoints.test, webhook_id, caller.owner_id, new_id)
        delivery = await connection.run_sync(deliveries.get, _there(delivery_id, webhook_id))
    return delivery_json(delivery)


@router.get(
    "/webhooks/{webhook_id}/deliveries",
    responses={200: openapi.example("A page", examples.DELIVERIES), **openapi.guarded(404, 422, 503)},
)
async def list_deliveries(
    webhook_id: UUID, gateway: Current, caller: Reader, cursor: Cursor = None, limit: Limit = LIMIT
) -> schema.Deliveries:
    """What was sent to a webhook in the last seven days, the newest first, with what came of each attempt."""
    async with gateway.engine.connect() as connection:
        _there(await connection.run_sync(endpoints.get, webhook_id, caller.owner_id), webhook_id)
        found = await connection.run_sync(deliveries.page, webhook_id, paging.behind(cursor, UUID), limit + 1)
    page, following = paging.cut(found, limit, lambda entry: (entry.id,))
    return schema.Deliveries(deliveries=[delivery_json(delivery) for delivery in page], next=following)


async def _read(request: Request, kind: type[Asked]) -> Asked:
    """Raises InvalidInput."""
    try:
        return kind.model_validate_json(await read_json(request))
    except ValidationError as error:
        raise from_pydantic(error) from error


async def _judged(gateway: Gateway, url: str) -> str:
    """The URL in its plain form, if it leads where this service may go. Raises InvalidInput.

    It is judged again whenever something is sent there: what a name resolves to may change.
    """
    target = addresses.parse_url(url, "url")
    await gateway.on_network(
        addresses.permitted, target.host, target.port, "url", gateway.settings.webhook_allow_private
    )
    return target.url


def _there(found: Found | None, webhook_id: UUID) -> Found:
    if found is None:
        raise NotFound("webhook", webhook_id)
    return found


def _with_secret(endpoint: Endpoint, secret: str) -> schema.CreatedWebhook:
    return schema.CreatedWebhook(**webhook_json(endpoint).model_dump(), secret=secret)
