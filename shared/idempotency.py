"""Requests that carry an Idempotency-Key: each takes effect once, and its repetitions get the first one's answer.

A row says that a request with the key is under way, under a lease that its gateway renews, or keeps the answer. Only an
answer of success is kept: a request that was refused leaves nothing, for it had no effect. One that broke off (the
gateway died, a server behind it was away) may have had one. So its row stays, to be taken over by a repetition, with
the id that was reserved for what the request makes: whoever goes on finds what is there already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, and_, case, delete, func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from shared.errors import KeyReused, UnderWay
from shared.ids import uuid7
from shared.tables import idempotency_keys as keys

LEASE = timedelta(seconds=30)
"""How long a request counts as under way after its gateway was last heard of."""
_RETRY_AFTER_SECONDS = 2.0
_SWEEP_BATCH = 1000

_now = func.statement_timestamp()
_nobodys = or_(keys.c.leased_until.is_(None), keys.c.leased_until <= _now)
_over = and_(keys.c.expires_at <= _now, _nobodys)
_under_way = keys.c.status.is_(None)


@dataclass(frozen=True)
class Claim:
    """The right to carry the request out. token: fences the writes; resource_id: for what the request makes.

    first: nobody had it before, and so nothing can be there already.
    """

    token: UUID
    resource_id: UUID
    first: bool


@dataclass(frozen=True)
class Answer:
    """What the request was answered with. body: none of an answer that must not be kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True)
class Kept:
    """The answer to a request that is done, and by which body it is known: its sha256 and its length in bytes."""

    resource_id: UUID
    fingerprint: bytes
    request_bytes: int
    answer: Answer


def claim(conn: Connection, owner_id: UUID, key: str, operation: str, lifetime: timedelta) -> Claim | Kept:
    """Begin, or go on with, the request that the key stands for; or what it was answered with.

    operation: its method and path. lifetime: for how long the key stands for it. Raises KeyReused where the key stands
    for another operation, and UnderWay while somebody works on the request.
    """
    token, resource_id = uuid4(), uuid7()
    new = insert(keys).values(
        owner_id=owner_id,
        key=key,
        operation=operation,
        token=token,
        resource_id=resource_id,
        leased_until=_now + LEASE,
        expires_at=_now + lifetime,
    )
    broken_off = and_(keys.c.leased_until <= _now, keys.c.operation == new.excluded.operation)
    taken = conn.execute(
        new.on_conflict_do_update(
            index_elements=[keys.c.owner_id, keys.c.key],
            set_={
                "operation": new.excluded.operation,
                "token": new.excluded.token,
                "resource_id": case((_over, new.excluded.resource_id), else_=keys.c.resource_id),
                "leased_until": new.excluded.leased_until,
                "created_at": new.excluded.created_at,
                "expires_at": new.excluded.expires_at,
                "fingerprint": null(),
                "request_bytes": null(),
                "status": null(),
                "headers": null(),
                "body": null(),
            },
            where=or_(_over, broken_off),
        ).returning(keys.c.resource_id)
    ).scalar_one_or_none()
    if taken is not None:
        return Claim(token, taken, first=taken == resource_id)
    row = conn.execute(select(keys).where(keys.c.owner_id == owner_id, keys.c.key == key)).one_or_none()
    if row is None:
        raise UnderWay(_RETRY_AFTER_SECONDS)  # it was refused this very moment
    if row.operation != operation:
        raise KeyReused(f"The key came with {row.operation} first.")
    if row.status is None:
        raise UnderWay(_RETRY_AFTER_SECONDS)
    return Kept(row.resource_id, row.fingerprint, row.request_bytes, Answer(row.status, row.headers, row.body))


def renew(conn: Connection, token: UUID) -> None:
    """The request is still worked on."""
    conn.execute(update(keys).where(keys.c.token == token, _under_way).values(leased_until=_now + LEASE))


def keep(conn: Connection, token: UUID, fingerprint: bytes, request_bytes: int, answer: Answer) -> None:
    """The request is done: from now on its repetitions get this answer."""
    values: dict[str, Any] = {
        "leased_until": None,
        "fingerprint": fingerprint,
        "request_bytes": request_bytes,
        "status": answer.status,
        "headers": dict(answer.headers),
        "body": answer.body,
    }
    conn.execute(update(keys).where(keys.c.token == token, _under_way).values(values))


def let_go(conn: Connection, token: UUID) -> None:
    """The request broke off: a repetition may go on with it at once."""
    conn.execute(update(keys).where(keys.c.token == token, _under_way).values(leased_until=_now))


def forget(conn: Connection, token: UUID) -> None:
    """The request was refused when it was first tried, and had no effect: the key is free."""
    conn.execute(delete(keys).where(keys.c.token == token, _under_way))


def sweep(conn: Connection) -> int:
    """Delete what is past its time; how many, at most 1000 a call."""
    chosen = select(keys.c.owner_id, keys.c.key).where(_over).limit(_SWEEP_BATCH).with_for_update(skip_locked=True)
    old = chosen.cte("old")
    return conn.execute(delete(keys).where(keys.c.owner_id == old.c.owner_id, keys.c.key == old.c.key)).rowcount
