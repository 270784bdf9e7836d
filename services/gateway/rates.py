"""How many requests an owner may send: the generic cell rate algorithm, and the headers that tell where it stands."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from shared.access import Principal
from shared.errors import LimitReached

WINDOW_SECONDS = 60
_SWEEP_EVERY = 10_000


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


class Rates:
    """Counts in this process alone: behind n gateways an owner may send up to n times as much.

    A minute's requests may come at once; from then on they may come as fast as the minute gives them back.
    """

    def __init__(self, default: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._default, self._clock = default, clock
        # When the owner would be back at nothing sent, had nothing come since.
        self._empty_at: dict[UUID, float] = {}
        self._taken = 0

    def take(self, principal: Principal) -> Rate:
        """Count one request, unless it is too many."""
        limit = principal.limits.requests_per_minute or self._default
        each, now = WINDOW_SECONDS / limit, self._clock()
        empty_at = max(self._empty_at.get(principal.owner_id, now), now) + each
        if empty_at - now > WINDOW_SECONDS + each / 2:
            return Rate(limit, 0, empty_at - each - now, retry_after=empty_at - now - WINDOW_SECONDS)
        self._empty_at[principal.owner_id] = empty_at
        self._sweep(now)
        return Rate(limit, int((WINDOW_SECONDS - (empty_at - now)) / each + 0.5), empty_at - now)

    def _sweep(self, now: float) -> None:
        """Forget owners that are back at nothing, so that memory does not grow with everybody who ever came."""
        self._taken += 1
        if self._taken % _SWEEP_EVERY == 0:
            self._empty_at = {owner: at for owner, at in self._empty_at.items() if at > now}
