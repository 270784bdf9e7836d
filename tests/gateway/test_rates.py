"""The rate of an owner: by a clock that the test turns, and of several gateways on one broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import httpx
import psutil
import pytest
from redis.asyncio import Redis

from deploy.embedded.redis import RedisServer
from services.gateway.app import create_app
from services.gateway.counts import AWAY_SECONDS, KEY_PREFIX, WINDOW_SECONDS, OwnCount, SharedCount
from services.gateway.rates import Rates
from shared import access
from shared.access import LOCAL, OwnerLimits
from shared.errors import LimitReached
from shared.scopes import Scope
from tests.gateway.conftest import PATIENCE, Backstage

pytestmark = pytest.mark.anyio
NOTHING = "/jobs/01900000-0000-7000-8000-000000000000"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def redis(broker_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(broker_url) as client:
        yield client


async def test_a_minute_of_requests_may_come_at_once_and_then_at_their_rate() -> None:
    clock = Clock()
    rates = Rates(60, OwnCount(clock), clock)
    assert [(await rates.take(LOCAL)).remaining for _ in range(60)] == list(range(59, -1, -1))
    full = await rates.take(LOCAL)
    assert (full.remaining, full.reset) == (0, pytest.approx(60.0))
    with pytest.raises(LimitReached) as refused:
        full.require()
    assert refused.value.retry_after == pytest.approx(1.0)
    clock.now += 1.0
    assert (await rates.take(LOCAL)).remaining == 0
    assert (await rates.take(LOCAL)).retry_after == pytest.approx(1.0)
    clock.now += 2 * WINDOW_SECONDS
    fresh = await rates.take(LOCAL)
    assert (fresh.limit, fresh.remaining, fresh.reset) == (60, 59, pytest.approx(1.0))


async def test_what_is_taken_in_shares_is_told_and_refused_as_if_it_were_not() -> None:
    clock = Clock()
    rates = Rates(6000, OwnCount(clock), clock)
    assert [(await rates.take(LOCAL)).remaining for _ in range(6000)] == list(range(5999, -1, -1))
    assert (await rates.take(LOCAL)).retry_after == pytest.approx(0.01)
    clock.now += 0.03
    assert [(await rates.take(LOCAL)).retry_after is None for _ in range(4)] == [True, True, True, False]


async def test_owners_do_not_share_a_rate_and_may_have_their_own() -> None:
    clock = Clock()
    rates = Rates(1, OwnCount(clock), clock)
    other = replace(LOCAL, owner_id=UUID(int=7), limits=OwnerLimits(requests_per_minute=2))
    await rates.take(LOCAL)
    assert [(await rates.take(other)).remaining for _ in range(2)] == [1, 0]
    for full in (LOCAL, other):
        with pytest.raises(LimitReached):
            (await rates.take(full)).require()


async def test_the_broker_counts_as_a_process_does(redis: Redis) -> None:
    """Which gives back a little meanwhile, as the other one's clock stands still."""
    shared, own = SharedCount(redis, patience=PATIENCE), OwnCount(Clock())
    began = time.monotonic()
    for each, wanted in ((20.0, 1), (20.0, 5), (20.0, 1), (30.0, 1)):
        mine, theirs = await own.take(UUID(int=1), each, wanted), await shared.take(UUID(int=1), each, wanted)
        assert theirs.requests == mine.requests
        assert -0.01 <= mine.empty_in - theirs.empty_in <= time.monotonic() - began + 0.01
    assert 0 < await redis.pttl(f"{KEY_PREFIX}{UUID(int=1)}") <= WINDOW_SECONDS * 1000


async def test_gateways_that_take_shares_of_one_count_give_out_hardly_more(redis: Redis) -> None:
    both = [Rates(6000, SharedCount(redis, patience=PATIENCE)) for _ in range(2)]
    began = time.monotonic()
    given = [(await both[n % 2].take(LOCAL)).retry_after is None for n in range(7000)]
    meanwhile = (time.monotonic() - began) * 100
    assert 6000 <= sum(given) <= 6000 + meanwhile + 2 * 10


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    """It takes connections and never answers."""
    process = psutil.Process(server.pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


async def test_one_request_at_a_time_waits_for_a_broker_that_says_nothing(tmp_path: Path, log_lines) -> None:
    def waited() -> int:
        return sum(line["event"] == "requests.counted_alone" for line in log_lines)

    clock, (silent, back) = Clock(), (UUID(int=1), UUID(int=2))
    with RedisServer.broker(tmp_path) as server:
        async with Redis.from_url(server.url) as client:
            count = SharedCount(client, clock)

            async def take(owner: UUID, at_once: int) -> int:
                taken = await asyncio.gather(*(count.take(owner, 20.0, 1) for _ in range(at_once)))
                return sum(one.requests for one in taken)

            with stopped(server):
                assert await take(silent, 1) == 1
                assert waited() == 1
                assert await take(silent, 3) == 2, "counted all the same"
                assert waited() == 1
                clock.now += AWAY_SECONDS
                await take(silent, 3)
                assert waited() == 2
            clock.now += AWAY_SECONDS
            assert await client.ping()
            assert await take(back, 1) == 1
            assert await take(back, 3) == 2, "all of them by the broker"
            assert waited() == 2
            assert await client.exists(f"{KEY_PREFIX}{back}")


async def test_an_owner_has_one_rate_at_two_gateways(settings, backstage: Backstage) -> None:
    with backstage.engine.begin() as connection:
        _, secret = access.create_key(connection, "ann", [Scope.READ])
        access.set_limits(connection, "ann", OwnerLimits(requests_per_minute=4))
    headers, apps = {"Authorization": f"Bearer {secret}"}, [create_app(settings) for _ in range(2)]
    answers = []
    async with apps[0].router.lifespan_context(apps[0]), apps[1].router.lifespan_context(apps[1]):
        for app in (*apps, *apps, *apps):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://g", headers=headers) as api:
                answers.append(await api.get(NOTHING))
    assert [answer.status_code for answer in answers] == [404, 404, 404, 404, 429, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == [
        "r=3",
        "r=2",
        "r=1",
        "r=0",
        "r=0",
        "r=0",
    ]


async def test_without_its_broker_a_gateway_counts_by_itself(settings, backstage: Backstage, log_lines) -> None:
    with backstage.engine.begin() as connection:
        _, secret = access.create_key(connection, "ann", [Scope.READ])
        access.set_limits(connection, "ann", OwnerLimits(requests_per_minute=2))
    app = create_app(settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"}))
    transport, headers = httpx.ASGITransport(app), {"Authorization": f"Bearer {secret}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://g", headers=headers) as api,
    ):
        assert [(await api.get(NOTHING)).status_code for _ in range(3)] == [404, 404, 429]
    assert sum(line["event"] == "requests.counted_alone" for line in log_lines) == 1
