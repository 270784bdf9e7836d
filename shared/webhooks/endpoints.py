"""The endpoints of an owner: registered, changed, looked at and taken away."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from shared.errors import Conflict, LimitReached
from shared.ids import uuid7
from shared.tables import owners, webhook_endpoints
from shared.webhooks import outbox, signing
from shared.webhooks.events import DisabledBecause, EventType

OVERLAP = timedelta(hours=24)
"""So long the secret before the present one signs as well: receivers learn the new one at their own time."""

_table = webhook_endpoints
_VISIBLE = [
    _table.c[name]
    for name in ("id", "url", "events", "description", "enabled", "disabled_because", "created_at", "failing_since")
]
_WITH_SECRET = [*_VISIBLE, _table.c.secret]
_FRESH: dict[str, Any] = {"failures": 0, "failing_since": None, "resume_at": func.now(), "disabled_because": None}


@dataclass(frozen=True)
class Endpoint:
    """What is shown of an endpoint. failing_since: when the first of the failures was that no success followed."""

    id: UUID
    url: str
    events: tuple[EventType, ...]
    description: str
    enabled: bool
    disabled_because: DisabledBecause | None
    created_at: datetime
    failing_since: datetime | None


@dataclass(frozen=True)
class Change:
    """What is None stays as it is."""

    url: str | None = None
    events: Collection[EventType] | None = None
    description: str | None = None
    enabled: bool | None = None


def create(
    conn: Connection,
    owner_id: UUID,
    url: str,
    events: Collection[EventType],
    description: str,
    most: int,
    endpoint_id: UUID | None = None,
) -> tuple[Endpoint, str]:
    """An endpoint and its secret. most: how many the owner may have; endpoint_id: one that was reserved for it.

    Raises LimitReached, and Conflict where the id has an endpoint, whose secret was shown before.
    """
    # The owner's row is locked, or two that come at once would pass the limit together.
    conn.execute(select(owners.c.id).where(owners.c.id == owner_id).with_for_update(key_share=True))
    if endpoint_id is not None and get(conn, endpoint_id, owner_id) is not None:
        raise Conflict(
            f"The webhook {endpoint_id} is made, and its secret was shown then.",
            remedy="Rotate its secret, or delete it and make another.",
        )
    count = select(func.count()).where(_table.c.owner_id == owner_id)
    if conn.execute(count).scalar_one() >= most:
        raise LimitReached("webhooks", most, "webhooks", "Delete one that is no longer needed.")
    secret = signing.new_secret()
    row = conn.execute(
        insert(_table)
        .values(
            id=endpoint_id or uuid7(),
            owner_id=owner_id,
            url=url,
            events=sorted(events),
            description=description,
            secret=secret,
        )
        .returning(*_VISIBLE)
    ).one()
    return _endpoint(row), secret


def page(conn: Connection, owner_id: UUID, before: UUID | None, limit: int) -> Sequence[Endpoint]:
    """The newest first, from behind the endpoint `before`."""
    found = select(*_VISIBLE).where(_table.c.owner_id == owner_id).order_by(_table.c.id.desc()).limit(limit)
    if before is not None:
        found = found.where(_table.c.id < before)
    return [_endpoint(row) for row in conn.execute(found)]


def get(conn: Connection, endpoint_id: UUID, owner_id: UUID) -> Endpoint | None:
    row = conn.execute(select(*_VISIBLE).where(_is(endpoint_id, owner_id))).one_or_none()
    return None if row is None else _endpoint(row)


def change(conn: Connection, endpoint_id: UUID, owner_id: UUID, wanted: Change) -> Endpoint | None:
    """The endpoint as it is then. One that leads elsewhere, or is enabled, begins without failures."""
    values: dict[str, Any] = {}
    if wanted.url is not None or wanted.enabled is not None:
        values |= _FRESH
    if wanted.url is not None:
        values["url"] = wanted.url
    if wanted.events is not None:
        values["events"] = sorted(wanted.events)
    if wanted.description is not None:
        values["description"] = wanted.description
    if wanted.enabled is not None:
        values["enabled"] = wanted.enabled
    if not values:
        return get(conn, endpoint_id, owner_id)
    row = conn.execute(
        update(_table).where(_is(endpoint_id, owner_id)).values(values).returning(*_VISIBLE)
    ).one_or_none()
    return None if row is None else _endpoint(row)


def remove(conn: Connection, endpoint_id: UUID, owner_id: UUID) -> bool:
    """Forget the endpoint and its deliveries; whether there was one."""
    return bool(conn.execute(delete(_table).where(_is(endpoint_id, owner_id))).rowcount)


def rotate(
    conn: Connection, endpoint_id: UUID, owner_id: UUID, rotation_id: UUID | None = None
) -> tuple[Endpoint, str] | None:
    """A new secret. The one before signs as well for OVERLAP, and one before that no more.

    rotation_id: one that was reserved for it. Where it is that of the last rotation, its secret is the answer: one more
    would end the secret that receivers have.
    """
    rotation_id = rotation_id or uuid7()
    conn.execute(
        update(_table)
        .where(_is(endpoint_id, owner_id), _table.c.rotation_id.is_distinct_from(rotation_id))
        .values(
            secret=signing.new_secret(),
            previous_secret=_table.c.secret,
            previous_until=func.now() + OVERLAP,
            rotation_id=rotation_id,
        )
    )
    row = conn.execute(select(*_WITH_SECRET).where(_is(endpoint_id, owner_id))).one_or_none()
    return None if row is None else (_endpoint(row), row.secret)


def test(conn: Connection, endpoint_id: UUID, owner_id: UUID, delivery_id: UUID) -> UUID | None:
    """Send a test event at once; its delivery's id. Raises Conflict where the endpoint is disabled.

    delivery_id: for the delivery. One that has it already is the answer.
    """
    row = conn.execute(
        update(_table).where(_is(endpoint_id, owner_id)).values(resume_at=func.now()).returning(_table.c.enabled)
    ).one_or_none()
    if row is None:
        return None
    if outbox.was_asked(conn, endpoint_id, delivery_id):
        return delivery_id
    if not row.enabled:
        raise Conflict("The webhook is disabled.", remedy='Enable it: PATCH with {"enabled": true}.')
    return outbox.ask_for_test(conn, endpoint_id, delivery_id)


def _is(endpoint_id: UUID, owner_id: UUID) -> Any:
    return and_(_table.c.id == endpoint_id, _table.c.owner_id == owner_id)


def _endpoint(row: Row[Any]) -> Endpoint:
    return Endpoint(
        id=row.id,
        url=row.url,
        events=tuple(map(EventType, row.events)),
        description=row.description,
        enabled=row.enabled,
        disabled_because=None if row.disabled_because is None else DisabledBecause(row.disabled_because),
        created_at=row.created_at,
        failing_since=row.failing_since,
    )
