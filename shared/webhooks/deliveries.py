"""Deliveries: taken when they are due, tried, tried again, and kept as a log for a while.

Taking one counts the attempt and puts it off by a lease: a process that dies on the way leaves a delivery that is due
again when the lease ends. So each is delivered at least once, and maybe more often.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, case, cast, delete, func, literal, literal_column, null, select, true, update
from sqlalchemy.dialects.postgresql import JSONB

from shared.tables import webhook_deliveries, webhook_endpoints
from shared.webhooks.events import DeliveryState, DisabledBecause

PAUSES = tuple(timedelta(seconds=seconds) for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600))
"""Before the second attempt and each after it: more than a day in all."""
JITTER = 0.2
"""A pause is longer by up to this share of itself, so that what failed together does not come back together."""
LONGEST_ENDPOINT_PAUSE = timedelta(minutes=5)
"""An endpoint that fails is left alone for a second, then for twice as long each time up to this."""
PATIENCE = timedelta(days=5)
"""An endpoint without one success for so long is disabled."""
KEPT = timedelta(days=7)
"""So long a delivery is in the log, and one of a disabled endpoint waits for it to be enabled."""
PRUNED_AT_ONCE = 10_000

_table = webhook_deliveries
# Written out and not bound: a plan that Postgres keeps for any value cannot use the partial index.
_pending = _table.c.state == literal_column(f"'{DeliveryState.PENDING}'")


@dataclass(frozen=True)
class Due:
    """A delivery to be tried now. secrets: each of them signs; attempt: 1 for the first."""

    id: UUID
    endpoint_id: UUID
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    payload: dict[str, Any]
    attempt: int


@dataclass(frozen=True)
class Tried:
    """What came of one attempt: a status and the beginning of what the receiver said, or the error before that.

    at: ISO 8601; ms: milliseconds until the answer or the error.
    """

    at: str
    ms: float
    status: int | None
    error: str | None
    response: str

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """The receiver wants nothing any more."""
        return self.status == 410


@dataclass(frozen=True)
class Delivery:
    """What is shown of a delivery."""

    id: UUID
    event: str
    state: DeliveryState
    created_at: datetime
    finished_at: datetime | None
    next_at: datetime | None
    payload: dict[str, Any]
    attempts: tuple[Tried, ...]


def claim(conn: Connection, room: int, full: Collection[UUID], lease: timedelta) -> Sequence[Due]:
    """What is due, at most `room` and at most one of each endpoint, the longest due first.

    full: endpoints that are to be left out. lease: when what was claimed and not settled is due again. Others may
    claim at the same time: nobody gets what another has.
    """
    waiting = (
        select(_table.c.id, _table.c.next_at)
        .where(_table.c.endpoint_id == webhook_endpoints.c.id, _pending, _table.c.next_at <= func.now())
        .order_by(_table.c.next_at)
        .limit(literal(1, literal_execute=True))
        .with_for_update(skip_locked=True)
        .lateral("waiting")
    )
    chosen = (
        select(waiting.c.id)
        .select_from(webhook_endpoints)
        .join(waiting, true())
        .where(
            webhook_endpoints.c.enabled,
            webhook_endpoints.c.resume_at <= func.now(),
            webhook_endpoints.c.id.not_in(full),
        )
        .order_by(waiting.c.next_at)
        .limit(room)
        .cte("chosen")
    )
    previous = case(
        (webhook_endpoints.c.previous_until > func.now(), webhook_endpoints.c.previous_secret), else_=null()
    )
    rows = conn.execute(
        update(_table)
        .where(_table.c.id == chosen.c.id, webhook_endpoints.c.id == _table.c.endpoint_id)
        .values(attempt=_table.c.attempt + 1, next_at=func.now() + lease)
        .returning(
            _table.c.id,
            _table.c.endpoint_id,
            _table.c.payload,
            _table.c.attempt,
            webhook_endpoints.c.url,
            webhook_endpoints.c.secret,
            previous.label("previous"),
        )
    )
    return [
        Due(
            id=row.id,
            endpoint_id=row.endpoint_id,
            url=row.url,
            secrets=(row.secret,) if row.previous is None else (row.secret, row.previous),
            payload=row.payload,
            attempt=row.attempt,
        )
        for row in rows
    ]


def settle(conn: Connection, due: Due, tried: Tried) -> bool:
    """Write down what came of an attempt, and what follows from it; whether the endpoint is disabled by it.

    The endpoint's row comes before the delivery's, as when an endpoint is deleted.
    """
    if tried.delivered:
        _succeeded(conn, due.endpoint_id)
        disabled = False
    else:
        disabled = _failed(conn, due.endpoint_id, tried.gone)
    over = tried.delivered or tried.gone or due.attempt > len(PAUSES)
    state = DeliveryState.DELIVERED if tried.delivered else DeliveryState.FAILED if over else DeliveryState.PENDING
    conn.execute(
        update(_table)
        # Not what was claimed anew in the meantime, or is settled.
        .where(_table.c.id == due.id, _table.c.attempt == due.attempt, _pending)
        .values(
            state=state,
            finished_at=func.now() if over else null(),
            next_at=null() if over else func.now() + _pause(due.attempt),
            log=_table.c.log.op("||")(cast([asdict(tried)], JSONB)),
        )
    )
    return disabled


def page(conn: Connection, endpoint_id: UUID, before: UUID | None, limit: int) -> Sequence[Delivery]:
    """Of an endpoint, the newest first, from behind the delivery `before`."""
    found = select(_table).where(_table.c.endpoint_id == endpoint_id).order_by(_table.c.id.desc()).limit(limit)
    if before is not None:
        found = found.where(_table.c.id < before)
    return [_delivery(row) for row in conn.execute(found)]


def get(conn: Connection, delivery_id: UUID) -> Delivery:
    return _delivery(conn.execute(select(_table).where(_table.c.id == delivery_id)).one())


def prune(conn: Connection) -> int:
    """Forget deliveries of more than KEPT ago; how many, at most PRUNED_AT_ONCE a call."""
    old = (
        select(_table.c.id)
        .where(_table.c.created_at < func.now() - KEPT)
        .order_by(_table.c.created_at)
        .limit(PRUNED_AT_ONCE)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    return conn.execute(delete(_table).where(_table.c.id == old.c.id)).rowcount


def _pause(attempt: int) -> timedelta:
    """After an attempt that failed, 1 for the first."""
    return PAUSES[attempt - 1] * (1 + JITTER * random.random())


def _succeeded(conn: Connection, endpoint_id: UUID) -> None:
    conn.execute(
        update(webhook_endpoints)
        .where(webhook_endpoints.c.id == endpoint_id, webhook_endpoints.c.failures > 0)
        .values(failures=0, failing_since=null(), resume_at=func.now())
    )


def _failed(conn: Connection, endpoint_id: UUID, gone: bool) -> bool:
    """Leave the endpoint alone for a while, or for good; whether it was disabled."""
    endpoint = webhook_endpoints.c
    pause = func.power(2, func.least(endpoint.failures, 30)) * timedelta(seconds=1)
    row = conn.execute(
        update(webhook_endpoints)
        .where(endpoint.id == endpoint_id)
        .values(
            failures=endpoint.failures + 1,
            failing_since=func.coalesce(endpoint.failing_since, func.now()),
            resume_at=func.now() + func.least(pause, LONGEST_ENDPOINT_PAUSE),
        )
        .returning(endpoint.enabled, (endpoint.failing_since < func.now() - PATIENCE).label("tired"))
    ).one_or_none()
    if row is None or not row.enabled or not (gone or row.tired):
        return False
    reason = DisabledBecause.GONE if gone else DisabledBecause.FAILING
    disabled = {"enabled": False, "disabled_because": reason}
    conn.execute(update(webhook_endpoints).where(endpoint.id == endpoint_id).values(disabled))
    return True


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        event=row.event,
        state=DeliveryState(row.state),
        created_at=row.created_at,
        finished_at=row.finished_at,
        next_at=row.next_at,
        payload=row.payload,
        attempts=tuple(Tried(**tried) for tried in row.log),
    )
