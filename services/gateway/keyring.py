"""API keys: looked up in the database, and kept in mind for a moment."""

import ipaddress
import time
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from shared import access
from shared.access import LOCAL, Principal
from shared.errors import Unauthenticated
from shared.settings import Settings

REMEMBERED_SECONDS = 5.0
"""So long a gateway may go on with what it knows of a key: a revoked one opens nothing any more after that."""
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True)
class _Remembered:
    principal: Principal | None
    until: float


class Keyring:
    """Whom a secret speaks for."""

    def __init__(self, settings: Settings, engine: AsyncEngine) -> None:
        self._engine = engine
        self._remembered: dict[bytes, _Remembered] = {}
        self._may_be_open = is_loopback(settings.gateway_host)
        self._open_until = 0.0

    async def principal(self, secret: str | None) -> Principal:
        """Raises Unauthenticated."""
        if secret is None:
            if await self._open():
                return LOCAL
            raise Unauthenticated(
                "This service wants an API key.",
                field="Authorization",
                remedy="Send `Authorization: Bearer KEY`; `glamm` takes it from GLAMM_API_KEY or --api-key.",
            )
        found = await self._find(secret)
        if found is None:
            raise Unauthenticated(
                "The API key is unknown, revoked or past its time.",
                field="Authorization",
                remedy="Ask whoever runs the service for another one (`glamm keys create`).",
            )
        return found

    async def _find(self, secret: str) -> Principal | None:
        now, digest = time.monotonic(), access.digest(secret)
        known = self._remembered.get(digest)
        if known is not None and now < known.until:
            return known.principal
        async with self._engine.begin() as connection:
            principal = await connection.run_sync(access.find_principal, secret)
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = _Remembered(principal, now + REMEMBERED_SECONDS)
        return principal

    async def _open(self) -> bool:
        """Whether anybody may do everything: only this host can reach the gateway, and nobody ever made a key."""
        if not self._may_be_open:
            return False
        now = time.monotonic()
        if now < self._open_until:
            return True
        async with self._engine.connect() as connection:
            if await connection.run_sync(access.any_key):
                self._may_be_open = False
                return False
        self._open_until = now + REMEMBERED_SECONDS
        return True


def is_loopback(host: str) -> bool:
    """Whether nobody beyond this host can reach what listens on that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
