"""Fixtures around harness.py: one tiny checkpoint and one zygote a session, a place and its workers for each test."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.scheduler.loop import Scheduler
from shared.database import create_engine
from shared.settings import Settings
from tests.tiny import write_checkpoint
from tests.workers.harness import Place, Worker, Zygote

StartWorker = Callable[..., Worker]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def place(settings: Settings, checkpoint: Path) -> Iterator[Place]:
    settings = settings.model_copy(
        update={
            "checkpoint": checkpoint,
            "device": "cpu",
            "max_new_tokens": 6,
            "torch_threads": 1,
            "sweep_seconds": 0.2,
        }
    )
    database = create_engine(settings.database_url)
    yield Place(settings, database)
    database.dispose()


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture
def worker(place: Place, settings_environment: dict[str, str], zygote: Zygote, tmp_path: Path) -> Iterator[StartWorker]:
    """`worker("llm", max_new_tokens=9)`: a worker process for these stages; `until` it has logged "process.ready"."""
    started: list[Worker] = []

    def start(
        stages: str = "vision,llm,pixel", until: str = "process.ready", program: str = "worker", **settings: object
    ) -> Worker:
        shared = {
            "checkpoint": place.settings.checkpoint,
            "device": "cpu",
            "torch_threads": 1,
            "max_new_tokens": place.settings.max_new_tokens,
            **settings,
        }
        environment = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(tmp_path),
            **settings_environment,
            **{f"GLAMM_{name.upper()}": str(value) for name, value in shared.items()},
        }
        log = tmp_path / f"worker-{len(started)}.log"
        started.append(zygote.start(["--stages", stages, "--concurrency", "8"], environment, log, program))
        return started[-1].until(until)

    yield start
    zygote.kill_all()


@pytest.fixture
def scheduler(place: Place) -> Iterator[None]:
    """A scheduler beside the test, sweeping often."""
    with scheduling(place.settings):
        yield


@contextmanager
def scheduling(settings: Settings) -> Iterator[None]:
    """A scheduler beside the block."""
    scheduler = Scheduler(settings, "test")
    running = threading.Thread(target=scheduler.run)
    running.start()
    try:
        yield
    finally:
        scheduler.stop()
        running.join()
