"""How many requests an owner may send: what is left of its minute, and the headers that tell where it stands."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from services.gateway.by_owner import ByOwner
from services.gateway.counts import WINDOW_SECONDS, Count
from shared.access import Principal
from shared.errors import LimitReached

_SHARES = 600
"""A minute is cut into so many: a gateway takes at once what the rate gives in a tenth of a second."""


@dataclass(frozen=True)
class Rate:
    """limit: requests a minute; remaining: what could be sent at once; reset: seconds until all of it can be again.

    retry_after: seconds until another request may come, where this one is too many.
    """

    limit: int
    remaining: int
    reset: float
    retry_after: float | None = None

    def require(self) -> None:
        """Raises LimitReached for a request that is too many."""
        if self.retry_after is not None:
            raise LimitReached(
                "requests_per_minute",
                self.limit,
                "requests a minute",
                "Send fewer at a time, or many jobs in one batch.",
                retry_after=self.retry_after,
            )

    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers has them."""
        return {
            "RateLimit-Policy": f'"owner";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"owner";r={self.remaining};t={math.ceil(self.reset)}',
        }


@dataclass
class _Share:
    """What this gateway has taken of an owner's count and not given out yet.

    empty_at: when nothing would be taken any more, had nothing come since. full_until: when there is room again.
    """

    limit: int
    left: int = 0
    empty_at: float = 0.0
    full_until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def each(self) -> float:
        """Seconds in which the minute gives a request back."""
        return WINDOW_SECONDS / self.limit

    def rate(self, now: float) -> Rate:
        """After a request that was given out."""
        reset = max(0.0, self.empty_at - now - self.left * self.each)
        return Rate(self.limit, int((WINDOW_SECONDS - reset) / self.each + 0.5), reset)

    def refusal(self, now: float) -> Rate:
        return Rate(self.limit, 0, self.empty_at - now, retry_after=max(self.full_until - now, self.each / 2))

    def idle(self, now: float) -> bool:
        """Back at nothing, and nobody is asking for more."""
        return self.empty_at <= now and not self.lock.locked()


class Rates:
    """A minute's requests may come at once; from then on they may come as fast as the minute gives them back.

    All gateways share a count, and take of it in shares: a round trip for each request would cost more than many a
    request. So an owner may send more by one share a gateway, 1 in 600, and below 1,200 a minute nothing more.
    """

    def __init__(self, default: int, count: Count, clock: Callable[[], float] = time.monotonic) -> None:
        self._default, self._count, self._clock = default, count, clock
        self._shares = ByOwner[_Share](_Share.idle)

    async def take(self, principal: Principal) -> Rate:
        """Count one request, unless it is too many."""
        limit = principal.limits.requests_per_minute or self._default
        share = self._shares.get(principal.owner_id)
        if share is None or share.limit != limit:
            share = self._shares[principal.owner_id] = _Share(limit)
        if self._asks(share):
            async with share.lock:
                if self._asks(share):  # nobody else has asked meanwhile
                    await self._fill(principal.owner_id, share)
        now = self._clock()
        if not share.left:
            return share.refusal(now)
        share.left -= 1
        self._shares.taken(now)
        return share.rate(now)

    def _asks(self, share: _Share) -> bool:
        return not share.left and self._clock() >= share.full_until

    async def _fill(self, owner_id: UUID, share: _Share) -> None:
        taken = await self._count.take(owner_id, share.each, max(1, share.limit // _SHARES))
        now = self._clock()
        share.left, share.empty_at = taken.requests, now + taken.empty_in
        share.full_until = 0.0 if taken.requests else share.empty_at + share.each - WINDOW_SECONDS
