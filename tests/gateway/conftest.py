"""The gateway in this process, on real servers, and a look behind it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from threading import Thread
from typing import Any
from uuid import UUID

import anyio
import httpx
import numpy as np
import pytest
import redis
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import Engine, func, select
from structlog.testing import capture_logs

from services.gateway.app import create_app
from services.gateway.counts import KEY_PREFIX
from shared import intake, jobs, masks, tables
from shared.database import create_engine
from shared.errors import Problem
from shared.images import Limits
from shared.jobs import Answer, Generation, Phrase, Result, Stage, Timing
from shared.objects import ObjectStore
from shared.settings import Settings
from shared.transactions import Transactions

LEASE = timedelta(minutes=1)
PATIENCE = 300  # seconds that a test waits for what must happen


@dataclass(frozen=True)
class Contents:
    """Everything that a request can leave behind."""

    objects: tuple[str, ...] = ()
    images: int = 0
    jobs: int = 0
    broker_keys: int = 0


@dataclass(frozen=True)
class Backstage:
    """What the gateway's clients do not see, and the workers that this test plays."""

    engine: Engine
    objects: ObjectStore
    broker: "redis.Redis"

    def contents(self) -> Contents:
        with self.engine.connect() as connection:
            images, queued = (
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (tables.images, tables.jobs)
            )
        left = [key for key in self.broker.scan_iter() if not key.startswith(KEY_PREFIX.encode())]
        return Contents(tuple(self.objects.keys()), images, queued, len(left))

    def waits_for_a_lock(self) -> bool:
        """Whether somebody in this test's database waits for a row that another holds."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with self.engine.connect() as connection:
            return bool(connection.exec_driver_sql(waiting).scalar_one())

    def start(self, job_id: UUID, stage: Stage) -> jobs.Run:
        """Let a worker enter the stage that the job is in."""
        with self.engine.begin() as connection:
            if stage is Stage.VISION:
                jobs.admit(connection, 64)
            run = jobs.enter(connection, jobs.Message(job_id, stage, 0, urgent=True), "host:1", LEASE)
        assert run is not None
        return run

    def encode(self, job_id: UUID) -> None:
        run = self._taken_in(self.start(job_id, Stage.VISION))
        with self.engine.begin() as connection:
            assert jobs.complete_vision(connection, run, Timing(1, 2, 3, 4, cached=True))

    def _taken_in(self, run: jobs.Run) -> jobs.Run:
        """An upload that is used for the first time becomes an image."""
        if run.image is not None or run.source is None:
            return run
        limits, image_id = Limits(2**30, 2**30, 2**30), run.source.rpartition("/")[2]
        image = intake.first_use(Transactions(self.engine, 0), self.objects, run.owner_id, image_id, limits)
        assert image is not None
        with self.engine.begin() as connection:
            taken = jobs.take_in(connection, run, image.id)
        assert taken is not None
        return taken

    def finish(self, run: jobs.Run, result: Result) -> None:
        """From the running llm stage to the end."""
        with self.engine.begin() as connection:
            said = [Generation(answer.raw_text, (1, 2), b"", 0, 0) for answer in result.answers]
            assert jobs.complete_llm(connection, run, said, Timing(5, 6, 7, 8))
        run = self.start(run.job_id, Stage.PIXEL)
        with self.engine.begin() as connection:
            assert jobs.complete_pixel(connection, run, result, Timing(9, 10, 11, 12))

    def succeed(self, job_id: UUID, result: Result) -> None:
        self.encode(job_id)
        self.finish(self.start(job_id, Stage.LLM), result)

    def fail(self, run: jobs.Run, problem: Problem) -> None:
        with self.engine.begin() as connection:
            assert jobs.fail(connection, run, problem)

    def cancel(self, job_id: UUID) -> None:
        with self.engine.begin() as connection:
            assert jobs.cancel(connection, job_id)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """What the test's own process logs."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def backstage(settings: Settings) -> Iterator[Backstage]:
    objects = ObjectStore(settings)
    objects.ensure_bucket()
    engine = create_engine(settings.database_url)
    with redis.Redis.from_url(settings.broker_url) as broker:
        yield Backstage(engine, objects, broker)
    engine.dispose()


@pytest.fixture
async def app(settings: Settings, backstage: Backstage) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def api(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client


@pytest.fixture
def png() -> bytes:
    """48 × 32 pixels of noise."""
    return encode(picture())


@pytest.fixture
def result() -> Result:
    """Two phrases on the picture of `png`, the second with an empty mask."""
    mask = np.zeros((32, 48), dtype=bool)
    mask[4:12, 10:30] = True
    nothing = np.zeros((32, 48), dtype=bool)
    answer = Answer(
        text="A red ball lies on grass.",
        raw_text="<p> A red ball </p> [SEG] lies on <p> grass </p> [SEG].",
        phrases=(
            Phrase("A red ball", (0, 10), masks.encode(mask), (10.0, 4.0, 30.0, 12.0), 160, 0.9),
            Phrase("grass", (19, 24), masks.encode(nothing), None, 0, 0.2),
        ),
    )
    return Result((answer,), "weights-1")


def picture(width: int = 48, height: int = 32, mode: str = "RGB", seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def encode(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.fixture
def photo() -> bytes:
    """A JPEG of 48 × 32 stored pixels that EXIF turns by a quarter."""
    tags = Image.Exif()
    tags[0x0112] = 6
    return encode(picture(), "JPEG", exif=tags.tobytes())


class Process:
    """`python -m services.gateway` as a process, and the lines that it logs."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "services.gateway"],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.lines.append(json.loads(line))

    async def logged(self, event: str, **facts: Any) -> dict[str, Any]:
        """The first line of that event with those facts, once it is there."""
        with anyio.fail_after(PATIENCE):
            while True:
                for line in list(self.lines):
                    if line["event"] == event and facts.items() <= line.items():
                        return line
                assert self.popen.poll() is None or self._reader.is_alive(), self.lines
                await asyncio.sleep(0.02)

    async def url(self) -> str:
        return (await self.logged("process.ready"))["url"]

    async def ended(self) -> int:
        return await asyncio.to_thread(self.popen.wait, PATIENCE)


@pytest.fixture
def start(backstage, settings_environment: dict[str, str]) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def launch(**environment: str) -> Process:
        started.append(Process({**settings_environment, "GLAMM_GATEWAY_PORT": "0", **environment}))
        return started[-1]

    yield launch
    for process in started:
        process.popen.kill()
        process.popen.wait()
