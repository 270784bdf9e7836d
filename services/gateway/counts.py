"""The count of what owners have sent, by the generic cell rate algorithm: of this process, or of all gateways."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.gateway.by_owner import ByOwner
from shared.logs import get_logger

WINDOW_SECONDS = 60
AWAY_SECONDS = 5.0
"""So long a broker that did not answer is not asked again."""
_PATIENCE = 0.5
"""So long a request waits for a broker that says nothing, where one that is gone refuses at once."""

KEY_PREFIX = "glamm:rate:"
# The broker's clock, so that those of the gateways need not agree.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local each, window, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local empty_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local room = math.floor((window - (empty_at - now)) / each + 0.5)
local taken = math.max(0, math.min(room, wanted))
if taken > 0 then
  empty_at = empty_at + taken * each
  redis.call('SET', KEYS[1], string.format('%.6f', empty_at), 'PX', math.ceil((empty_at - now) * 1000))
end
return {taken, string.format('%.6f', empty_at - now)}
"""

log = get_logger(__name__)


@dataclass(frozen=True)
class Taken:
    """requests: how many may be sent. empty_in: seconds until nothing would be taken, if nothing more came."""

    requests: int
    empty_in: float


class Count(Protocol):
    async def take(self, owner_id: UUID, each: float, wanted: int) -> Taken:
        """Up to so many requests, of a minute that gives one back every `each` seconds."""


class OwnCount:
    """Of this process alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._empty_at = ByOwner[float](idle=lambda empty_at, now: empty_at <= now)

    async def take(self, owner_id: UUID, each: float, wanted: int) -> Taken:
        now = self._clock()
        empty_at = max(self._empty_at.get(owner_id, now), now)
        room = int((WINDOW_SECONDS - (empty_at - now)) / each + 0.5)
        taken = max(0, min(room, wanted))
        if taken:
            empty_at = self._empty_at[owner_id] = empty_at + taken * each
            self._empty_at.taken(now)
        return Taken(taken, empty_at - now)


class SharedCount:
    """Of all gateways on one broker, a round trip each time. While the broker is away each process counts by itself."""

    def __init__(self, broker: Redis, clock: Callable[[], float] = time.monotonic, patience: float = _PATIENCE) -> None:
        self._script: Any = broker.register_script(_TAKE)
        self._own, self._clock, self._patience = OwnCount(clock), clock, patience
        self._away_until: float | None = None

    async def take(self, owner_id: UUID, each: float, wanted: int) -> Taken:
        if self._asks():
            try:
                async with asyncio.timeout(self._patience):
                    requests, empty_in = await self._script(
                        keys=[f"{KEY_PREFIX}{owner_id}"], args=[each, WINDOW_SECONDS, wanted]
                    )
                self._away_until = None
                return Taken(int(requests), float(empty_in))
            except (RedisError, OSError) as error:
                self._away_until = self._clock() + AWAY_SECONDS
                log.warning("requests.counted_alone", error=str(error) or "no answer in time")
        return await self._own.take(owner_id, each, wanted)

    def _asks(self) -> bool:
        """Whether to ask the broker. After a failure a single request finds out whether it is back."""
        if self._away_until is None:
            return True
        now = self._clock()
        if now < self._away_until:
            return False
        self._away_until = now + AWAY_SECONDS
        return True
