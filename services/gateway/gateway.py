"""What the gateway leans on: servers, those who listen to them, and threads, opened together and closed together."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ParamSpec, TypeVar
from uuid import UUID

import structlog
from fastapi import Depends, Request
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway.counts import SharedCount
from services.gateway.keyring import Keyring
from services.gateway.rates import Rates
from services.gateway.streams import Streams
from services.gateway.texts import Texts
from services.gateway.watcher import Watcher
from services.gateway.written import Written
from shared import jobs, tasks
from shared import limits as limit
from shared.access import OwnerLimits, default_limits
from shared.database import create_async_engine, create_engine, listen
from shared.errors import NotFound
from shared.images import CheckedImage, Limits, check
from shared.objects import ObjectStore
from shared.settings import Settings
from shared.transactions import Transactions

_POOL_SIZE = 10
# So many of its connections at most write pages of results: whoever reads those must not keep all others waiting.
_PAGES = 4
_NETWORK_THREADS = 16
_POOL_SIZE_OF_THREADS = 4
# Each may hold a decoded picture, of 256 MB at the default limit of pixels.
_PICTURE_THREADS = min(4, os.cpu_count() or 1)
# Only a connection that died without a sound needs this: whatever else happens wakes the waiter at once.
_LOOK_AGAIN_SECONDS = 10.0

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Gateway:
    settings: Settings
    engine: AsyncEngine
    transactions: Transactions
    objects: ObjectStore
    broker: Redis
    watcher: Watcher
    texts: Texts
    streams: Streams
    keyring: Keyring
    rates: Rates
    written: Written
    pages: asyncio.Semaphore
    network: ThreadPoolExecutor
    pictures: ThreadPoolExecutor

    @cached_property
    def reads(self) -> AsyncEngine:
        """The engine for single statements: a transaction around one costs two round trips more than the statement."""
        return self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def limits(self) -> Limits:
        return limit.of_images(self.settings)

    @property
    def ask_limits(self) -> tasks.Limits:
        return limit.of_requests(self.settings)

    def in_force(self, own: OwnerLimits) -> OwnerLimits:
        """What an owner with these limits of its own may take."""
        return own.or_else(default_limits(self.settings))

    async def on_network(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what waits for the object store in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.network, lambda: function(*args, **kwargs))

    async def on_picture(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what decodes or draws in one of few threads, which bounds the memory of pictures."""
        return await asyncio.get_running_loop().run_in_executor(self.pictures, lambda: function(*args, **kwargs))

    def check_on_picture_thread(self, data: bytes, limits: Limits, name: str) -> CheckedImage:
        """`shared.images.check` for a thread of the network's, which waits for it. Raises InvalidInput."""
        return self.pictures.submit(check, data, limits, name).result()

    async def check(self, data: bytes) -> CheckedImage:
        """Raises InvalidInput."""
        return await self.on_picture(check, data, self.limits)

    async def job(self, job_id: UUID, owner_id: UUID) -> jobs.JobView:
        """Raises NotFound, also of a job that is another's."""
        view = await self.find_job(job_id, owner_id)
        if view is None:
            raise NotFound("job", job_id)
        return view

    async def find_job(self, job_id: UUID, owner_id: UUID) -> jobs.JobView | None:
        """The owner's job of that id, if there is one."""
        async with self.reads.connect() as connection:
            return await connection.run_sync(jobs.get, job_id, owner_id)

    async def job_version(self, job_id: UUID, owner_id: UUID) -> str:
        """What `job` would give as its version, for less. Raises NotFound."""
        async with self.reads.connect() as connection:
            version = await connection.run_sync(jobs.get_version, job_id, owner_id)
        if version is None:
            raise NotFound("job", job_id)
        return version

    async def finished_job(self, job_id: UUID, owner_id: UUID, seconds: float) -> jobs.JobView:
        """The owner's job once it is finished, or as it is after so many seconds or when the gateway stops."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        with self.watcher.watch(job_id) as moved:
            while True:
                # Cleared before the look, so that whatever moves the job after it ends the wait below.
                moved.clear()
                view = await self.job(job_id, owner_id)
                left = deadline - clock()
                if view.state.finished or self.watcher.closed or left <= 0:
                    return view
                with suppress(TimeoutError):
                    await asyncio.wait_for(moved.wait(), min(left, _LOOK_AGAIN_SECONDS))


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Gateway]:
    """Nothing connects before it is needed, so the gateway starts, and answers /healthz, before its servers do."""
    engine = create_async_engine(settings.database_url, pool_size=_POOL_SIZE)
    # For work that waits for database and object store in turns, on a thread. A caller waits for it: no second try.
    threads_engine = create_engine(settings.database_url, _POOL_SIZE_OF_THREADS)
    transactions = Transactions(threads_engine, patience=0)
    # Celery's name for a Unix socket is its own.
    broker_url = settings.broker_url.replace("redis+socket://", "unix://")
    broker = Redis.from_url(broker_url, socket_connect_timeout=2, socket_timeout=2)
    watcher = Watcher(lambda: listen(settings.database_url))
    network = ThreadPoolExecutor(_NETWORK_THREADS, "network")
    pictures = ThreadPoolExecutor(_PICTURE_THREADS, "picture")
    texts = Texts(broker)
    listening = [asyncio.create_task(watcher.run()), asyncio.create_task(texts.run())]
    try:
        yield Gateway(
            settings=settings,
            engine=engine,
            transactions=transactions,
            objects=ObjectStore(settings),
            broker=broker,
            watcher=watcher,
            texts=texts,
            streams=Streams(settings.max_event_streams),
            keyring=Keyring(settings, engine),
            rates=Rates(settings.requests_per_minute, SharedCount(broker)),
            written=Written(),
            pages=asyncio.Semaphore(_PAGES),
            network=network,
            pictures=pictures,
        )
    finally:
        watcher.close()
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        network.shutdown()
        pictures.shutdown()
        threads_engine.dispose()
        await broker.aclose()
        await engine.dispose()


def current(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


async def logged_job_id(job_id: UUID) -> UUID:
    structlog.contextvars.bind_contextvars(job_id=str(job_id))
    return job_id


Current = Annotated[Gateway, Depends(current)]
JobId = Annotated[UUID, Depends(logged_job_id)]
"""The job that the path names; every line that the request logs bears it."""
