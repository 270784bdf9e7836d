"""The rate of an owner, by a clock that the test turns."""

from dataclasses import replace
from uuid import UUID

import pytest

from services.gateway.rates import WINDOW_SECONDS, Rates
from shared.access import LOCAL, OwnerLimits
from shared.errors import LimitReached


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_minute_of_requests_may_come_at_once_and_then_at_their_rate() -> None:
    clock = Clock()
    rates = Rates(60, clock)
    assert [rates.take(LOCAL).remaining for _ in range(60)] == list(range(59, -1, -1))
    full = rates.take(LOCAL)
    assert (full.remaining, full.reset) == (0, pytest.approx(60.0))
    with pytest.raises(LimitReached) as refused:
        full.require()
    assert refused.value.retry_after == pytest.approx(1.0)
    clock.now += 1.0
    assert rates.take(LOCAL).remaining == 0
    assert rates.take(LOCAL).retry_after == pytest.approx(1.0)
    clock.now += 2 * WINDOW_SECONDS
    fresh = rates.take(LOCAL)
    assert (fresh.limit, fresh.remaining, fresh.reset) == (60, 59, pytest.approx(1.0))


def test_owners_do_not_share_a_rate_and_may_have_their_own() -> None:
    rates = Rates(1, Clock())
    other = replace(LOCAL, owner_id=UUID(int=7), limits=OwnerLimits(requests_per_minute=2))
    rates.take(LOCAL)
    assert [rates.take(other).remaining for _ in range(2)] == [1, 0]
    for full in (LOCAL, other):
        with pytest.raises(LimitReached):
            rates.take(full).require()
