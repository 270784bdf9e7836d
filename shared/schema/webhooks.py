"""Webhooks, what they are told, and whether it arrived."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from shared.schema.base import Request, Response
from shared.schema.problems import Failure
from shared.webhooks.events import DeliveryState, DisabledBecause, EventType

_Events = Annotated[list[EventType], Field(min_length=1, max_length=len(EventType))]


_Url = Annotated[str, Field(max_length=2083, description="http or https, without credentials")]


_Description = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$", description="to tell it from others")]


class WebhookRequest(Request):
    """Where to send which events."""

    url: _Url
    events: _Events
    description: _Description = ""


class WebhookChange(Request):
    """What is left out stays as it is."""

    url: _Url | None = None
    events: _Events | None = None
    description: _Description | None = None
    enabled: bool | None = Field(None, description="a disabled webhook is told nothing")


class Webhook(Response):
    """`failing_since` is null while the last delivery succeeded."""

    id: UUID
    url: str
    events: list[EventType]
    description: str
    enabled: bool
    disabled_because: DisabledBecause | None = Field(
        description="gone: it answered 410; failing: nothing reached it for days; null when a person disabled it"
    )
    created_at: datetime
    failing_since: datetime | None


class CreatedWebhook(Webhook):
    secret: str = Field(description="shown this once; what deliveries are signed with")


class Webhooks(Response):
    webhooks: list[Webhook]
    next: str | None = Field(description="the `cursor` of the next page; null on the last")


class DeliveryAttempt(Response):
    """`status` is null where there was no answer, and `error` says why."""

    at: datetime
    ms: float
    status: int | None
    error: str | None
    response: str = Field(description="the beginning of what the receiver said")


class EventLinks(Response):
    self: str


class EventData(Response):
    """What happened to which thing. `error`: why a job failed."""

    id: UUID
    state: str | None = None
    batch_id: UUID | None = Field(None, description="of the batch that a job belongs to")
    custom_id: str | None = Field(None, description="what the client calls the job within its batch")
    error: Failure | None = None
    links: EventLinks


class Event(Response):
    """The body of a delivery."""

    type: str
    timestamp: datetime = Field(description="when it happened")
    data: EventData


class Delivery(Response):
    """An event on its way to a webhook; `id` is the `webhook-id` of every attempt."""

    id: UUID
    event: str
    state: DeliveryState
    created_at: datetime
    finished_at: datetime | None
    next_at: datetime | None = Field(description="when the next attempt is due at the earliest")
    payload: Event
    attempts: list[DeliveryAttempt]


class Deliveries(Response):
    deliveries: list[Delivery]
    next: str | None = Field(description="the `cursor` of the next page; null on the last")
