"""A place with all servers around it, and worker processes that tests can kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import redis
from celery import Celery
from PIL import Image
from sqlalchemy import Engine as Database
from sqlalchemy import insert

from shared import jobs
from shared.images import Limits, check
from shared.jobs import ConversationView, JobView, Message, NewJob, Stage, State
from shared.objects import ObjectStore, key_of
from shared.queue import queue_of
from shared.settings import Settings
from shared.tables import LOCAL_OWNER, images
from shared.tasks import Ask, Task

SECONDS = 300  # how long a test waits for what must happen; never how long it takes
REPOSITORY = Path(__file__).parents[2]


class Place:
    """A service without a gateway: its servers, a checkpoint, and the moves of a client and of the scheduler."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.objects = ObjectStore(settings)
        self.objects.ensure_bucket()

    def picture(self, seed: int = 0, width: int = 80, height: int = 60) -> bytes:
        """A PNG of coloured noise."""
        noise = np.random.default_rng(seed).integers(0, 255, (height // 10, width // 10, 3), dtype=np.uint8)
        buffer = BytesIO()
        Image.fromarray(noise).resize((width, height)).save(buffer, format="PNG")
        return buffer.getvalue()

    def upload(self, data: bytes) -> str:
        """Store an image as the gateway does; its id."""
        image = check(data, Limits(10**7, 10**7, 10**4))
        key = key_of(image.id)
        self.objects.put(key, data, image.media_type)
        with self.database.begin() as conn:
            conn.execute(
                insert(images).values(
                    id=image.id,
                    object_key=key,
                    media_type=image.media_type,
                    width=image.width,
                    height=image.height,
                    bytes=len(data),
                    owner_id=LOCAL_OWNER,
                )
            )
        return image.id

    def submit(self, image_id: str, ask: Ask = Ask(Task.GCG), **more: Any) -> UUID:
        with self.database.begin() as conn:
            return jobs.create(conn, NewJob(image_id, ask, **more))

    def admit(self, window: int = 1000) -> list[jobs.Message]:
        with self.database.begin() as conn:
            return jobs.admit(conn, window)

    def view(self, job_id: UUID) -> JobView:
        with self.database.begin() as conn:
            found = jobs.get(conn, job_id)
        assert found is not None
        return found

    def conversation(self, conversation_id: UUID) -> ConversationView:
        with self.database.begin() as conn:
            found = jobs.get_conversation(conn, conversation_id)
        assert found is not None
        return found

    def wait(self, job_id: UUID, met: Callable[[JobView], bool]) -> JobView:
        """The job once the condition is met."""
        deadline = time.monotonic() + SECONDS
        while not met(view := self.view(job_id)):
            assert time.monotonic() < deadline, view
            time.sleep(0.02)
        return view

    def finished(self, job_id: UUID) -> JobView:
        return self.wait(job_id, lambda view: view.state.finished)

    def succeeded(self, job_id: UUID) -> JobView:
        view = self.finished(job_id)
        assert view.state is State.SUCCEEDED, view.error
        return view


@dataclass
class Worker:
    """A worker process and what it has logged."""

    pid: int
    log: Path
    zygote: "Zygote"

    def until(self, said: str, times: int = 1) -> "Worker":
        """Wait for words in its log."""
        deadline = time.monotonic() + SECONDS
        while self.log.read_text().count(said) < times:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return self

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; the exit status, negative for a signal's."""
        os.kill(self.pid, number)
        return self.wait()

    def wait(self) -> int:
        return self.zygote.wait(self.pid)


class Zygote:
    """The process that forks the workers, see zygote.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._running: set[int] = set()

    def start(self, arguments: list[str], environment: dict[str, str], log: Path, program: str = "worker") -> Worker:
        log.touch()
        order = {"start": arguments, "environment": environment, "log": str(log), "program": program}
        pid = int(self._ask(order))
        self._running.add(pid)
        return Worker(pid, log, self)

    def wait(self, pid: int) -> int:
        status = json.loads(self._ask({"wait": pid, "seconds": SECONDS}))
        assert status is not None, "the process does not end"
        self._running.discard(pid)
        return int(status)

    def kill_all(self) -> None:
        for pid in list(self._running):
            os.kill(pid, signal.SIGKILL)
            self.wait(pid)

    def close(self) -> None:
        self.kill_all()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, order: dict[str, object]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the zygote has died"
        return answer


def flush(url: str) -> None:
    """Empty a Redis server."""
    with redis.Redis.from_url(url) as client:
        client.flushall()


def receive(app: Celery, stage: Stage) -> Message | None:
    """Take the next message out of a stage's queues, as a worker would; None when they are empty."""
    with app.connection_for_read() as connection:
        for urgent in (True, False):
            taken = connection.default_channel.basic_get(queue_of(stage, urgent), no_ack=True)
            if taken is not None:
                (job_id, stage_name, attempt), _, _ = taken.payload
                return Message(UUID(job_id), Stage(stage_name), attempt, urgent)
    return None
