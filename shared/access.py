"""Owners, to whom everything that is stored belongs, and the API keys that speak for them."""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, exists, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from shared.errors import Conflict, IdTaken
from shared.ids import uuid7
from shared.scopes import Scope
from shared.settings import Settings
from shared.tables import LOCAL_OWNER, api_keys, owners

LOCAL_NAME = "local"
PREFIX = "glamm_"
HINT_CHARACTERS = 4
"""So many of a secret, besides the prefix, are kept to tell it from others by eye: too few to guess the rest."""
_SECRET_BYTES = 32
LEAST_SECRET = 24


@dataclass(frozen=True)
class OwnerLimits:
    """What one owner may take; None where the service's settings decide."""

    requests_per_minute: int | None = None
    stored_bytes: int | None = None
    queued_jobs: int | None = None

    def or_else(self, defaults: "OwnerLimits") -> "OwnerLimits":
        """What is in force: the defaults where there is no limit of its own."""
        return OwnerLimits(
            *(default if own is None else own for own, default in zip(astuple(self), astuple(defaults), strict=True))
        )


def default_limits(settings: Settings) -> OwnerLimits:
    """Of an owner without limits of its own; None for no limit."""
    return OwnerLimits(settings.requests_per_minute, settings.max_stored_bytes, settings.max_queued_jobs)


@dataclass(frozen=True)
class Principal:
    """On whose behalf a request comes, and what it may do. key_id: None where the service asks for no keys."""

    owner_id: UUID
    owner: str
    scopes: frozenset[Scope]
    key_id: UUID | None
    limits: OwnerLimits = OwnerLimits()


LOCAL = Principal(LOCAL_OWNER, LOCAL_NAME, frozenset(Scope), None)
"""Whoever is on this host, where the service listens for nobody else and has no keys."""


@dataclass(frozen=True)
class Key:
    """What is kept of a key. hint: the secret's first characters."""

    id: UUID
    owner: str
    name: str
    scopes: frozenset[Scope]
    hint: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


def new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def digest(secret: str) -> bytes:
    """What is stored in the secret's place. A secret is long and random, so a plain hash gives nothing away."""
    return hashlib.sha256(secret.encode()).digest()


def create_key(
    conn: Connection,
    owner: str,
    scopes: Collection[Scope],
    name: str = "",
    expires_at: datetime | None = None,
    secret: str | None = None,
    key_id: UUID | None = None,
) -> tuple[Key, str]:
    """A key of that owner, who is made where there is none of that name; and its secret, which is shown this once.

    secret, key_id: chosen elsewhere. Raises Conflict where another key has the secret, IdTaken where one has the id,
    and ValueError for a secret that is short.
    """
    secret = secret or new_secret()
    if len(secret) < LEAST_SECRET:
        raise ValueError(f"a key has at least {LEAST_SECRET} characters")
    owner_id = ensure_owner(conn, owner)
    key_id = key_id or uuid7()
    written = conn.execute(
        insert(api_keys)
        .values(
            id=key_id,
            owner_id=owner_id,
            name=name,
            scopes=sorted(scopes),
            secret_sha256=digest(secret),
            hint=secret[: HINT_CHARACTERS + (len(PREFIX) if secret.startswith(PREFIX) else 0)],
            expires_at=expires_at,
        )
        .on_conflict_do_nothing()
        .returning(api_keys.c.id)
    ).one_or_none()
    if written is None:
        if conn.execute(select(api_keys.c.id).where(api_keys.c.id == key_id)).one_or_none() is not None:
            raise IdTaken("key", key_id, remedy="Revoke it, and make another: its secret was shown once.")
        raise Conflict("There is a key with this secret already.", remedy="Use that one, or make another secret.")
    return _key(conn.execute(_keys().where(api_keys.c.id == key_id)).one()), secret


def ensure_key(conn: Connection, owner: str, scopes: Collection[Scope], secret: str, name: str = "") -> bool:
    """Make the key with this secret where there is none; whether it was made. What is there stays as it is."""
    if conn.execute(select(api_keys.c.id).where(api_keys.c.secret_sha256 == digest(secret))).one_or_none():
        return False
    create_key(conn, owner, scopes, name, secret=secret)
    return True


def ensure_owner(conn: Connection, name: str) -> UUID:
    """The owner of that name, made where there is none."""
    conn.execute(insert(owners).values(id=uuid7(), name=name).on_conflict_do_nothing(index_elements=[owners.c.name]))
    owner_id: UUID = conn.execute(select(owners.c.id).where(owners.c.name == name)).scalar_one()
    return owner_id


def find_owner(conn: Connection, name: str) -> UUID | None:
    """The owner of that name, if there is one."""
    return conn.execute(select(owners.c.id).where(owners.c.name == name)).scalar_one_or_none()


def find_principal(conn: Connection, secret: str) -> Principal | None:
    """For whom the secret speaks; None for one that is unknown, revoked or past its time."""
    row = conn.execute(
        update(api_keys)
        .where(
            api_keys.c.secret_sha256 == digest(secret),
            api_keys.c.revoked_at.is_(None),
            func.coalesce(api_keys.c.expires_at > func.now(), literal(True)),
            owners.c.id == api_keys.c.owner_id,
        )
        .values(last_used_at=func.now())
        .returning(
            api_keys.c.id,
            api_keys.c.scopes,
            owners.c.id.label("owner_id"),
            owners.c.name,
            owners.c.requests_per_minute,
            owners.c.stored_bytes,
            owners.c.queued_jobs,
        )
    ).one_or_none()
    if row is None:
        return None
    limits = OwnerLimits(row.requests_per_minute, row.stored_bytes, row.queued_jobs)
    return Principal(row.owner_id, row.name, frozenset(map(Scope, row.scopes)), row.id, limits)


def any_key(conn: Connection) -> bool:
    """Whether a key was ever made, revoked ones included."""
    return bool(conn.execute(select(exists(select(api_keys.c.id)))).scalar_one())


def keys_page(conn: Connection, before: UUID | None, limit: int) -> Sequence[Key]:
    """Keys of all owners, the newest first, from behind the key `before`."""
    found = _keys().order_by(api_keys.c.id.desc()).limit(limit)
    if before is not None:
        found = found.where(api_keys.c.id < before)
    return [_key(row) for row in conn.execute(found)]


def revoke_key(conn: Connection, key_id: UUID) -> Key | None:
    """Let the key open nothing any more; None where there is no such key. Doing it again is harmless."""
    conn.execute(
        update(api_keys)
        .where(api_keys.c.id == key_id)
        .values(revoked_at=func.coalesce(api_keys.c.revoked_at, func.now()))
    )
    row = conn.execute(_keys().where(api_keys.c.id == key_id)).one_or_none()
    return None if row is None else _key(row)


def limits_of(conn: Connection, owner_id: UUID) -> OwnerLimits:
    columns = owners.c.requests_per_minute, owners.c.stored_bytes, owners.c.queued_jobs
    return OwnerLimits(*conn.execute(select(*columns).where(owners.c.id == owner_id)).one())


def set_limits(conn: Connection, owner: str, limits: OwnerLimits) -> bool:
    """Replace the owner's limits; whether there is such an owner."""
    changed = conn.execute(
        update(owners)
        .where(owners.c.name == owner)
        .values(
            requests_per_minute=limits.requests_per_minute,
            stored_bytes=limits.stored_bytes,
            queued_jobs=limits.queued_jobs,
        )
    )
    return bool(changed.rowcount)


def _keys() -> Select[Any]:
    columns = [api_keys.c[name] for name in ("id", "name", "scopes", "hint")]
    times = [api_keys.c[name] for name in ("created_at", "expires_at", "revoked_at", "last_used_at")]
    return select(*columns, *times, owners.c.name.label("owner")).join(owners, owners.c.id == api_keys.c.owner_id)


def _key(row: Row[Any]) -> Key:
    return Key(
        id=row.id,
        owner=row.owner,
        name=row.name,
        scopes=frozenset(map(Scope, row.scopes)),
        hint=row.hint,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
