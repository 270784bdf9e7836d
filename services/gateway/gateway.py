"""What the gateway leans on: servers, those who listen to them, and threads, opened together and closed together."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, ParamSpec, TypeVar
from uuid import UUID

import structlog
from fastapi import Depends, Request
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway.keyring import Keyring
from services.gateway.streams import Streams
from services.gateway.texts import Texts
from services.gateway.watcher import Watcher
from shared import jobs, tasks
from shared.database import create_async_engine, listen
from shared.errors import NotFound
from shared.images import CheckedImage, Limits, check
from shared.objects import ObjectStore
from shared.settings import Settings

_POOL_SIZE = 10
_NETWORK_THREADS = 16
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
    objects: ObjectStore
    broker: Redis
    watcher: Watcher
    texts: Texts
    streams: Streams
    keyring: Keyring
    network: ThreadPoolExecutor
    pictures: ThreadPoolExecutor

    @property
    def limits(self) -> Limits:
        settings = self.settings
        return Limits(settings.max_image_bytes, settings.max_image_pixels, settings.max_image_side)

    @property
    def ask_limits(self) -> tasks.Limits:
        settings = self.settings
        return tasks.Limits(settings.max_prompt_chars, settings.max_boxes, settings.max_expressions)

    async def on_network(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what waits for the object store in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.network, lambda: function(*args, **kwargs))

    async def on_picture(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what decodes or draws in one of few threads, which bounds the memory of pictures."""
        return await asyncio.get_running_loop().run_in_executor(self.pictures, lambda: function(*args, **kwargs))

    async def check(self, data: bytes) -> CheckedImage:
        """Raises InvalidInput."""
        return await self.on_picture(check, data, self.limits)

    async def job(self, job_id: UUID, owner_id: UUID) -> jobs.JobView:
        """Raises NotFound, also of a job that is another's."""
        async with self.engine.connect() as connection:
            view = await connection.run_sync(jobs.get, job_id, owner_id)
        if view is None:
            raise NotFound("job", job_id)
        return view

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
            objects=ObjectStore(settings),
            broker=broker,
            watcher=watcher,
            texts=texts,
            streams=Streams(settings.max_event_streams),
            keyring=Keyring(settings, engine),
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
