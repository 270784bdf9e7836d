"""A real service, and jobs and a server that say what a test wants, for tests that need no gateway."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import pytest
import redis
from PIL import Image, ImageDraw
from sqlalchemy import select
from structlog.testing import capture_logs

from services.cli.client import GlammClient
from services.cli.main import main
from services.gateway.__main__ import Server
from services.gateway.app import create_app
from shared import batches, jobs, schema, tables
from shared.database import create_engine
from shared.errors import Unavailable
from shared.masks import Rle
from shared.objects import ObjectStore
from shared.settings import Settings
from shared.states import Stage, State
from tests.gateway.conftest import Backstage
from tests.tiny import write_checkpoint

Answer = tuple[int, dict[str, str], bytes]
HANG = "hang"
PATIENCE = 300.0


@pytest.fixture
def job() -> Callable[..., schema.Job]:
    """Makes a job that succeeded, but for what is given."""

    def make(**changes: Any) -> schema.Job:
        now = datetime.now(UTC).isoformat()
        data: dict[str, Any] = {
            "id": "01900000-0000-7000-8000-000000000000",
            "task": "gcg",
            "request": {"task": "gcg"},
            "state": "succeeded",
            "turn": None,
            "image": {"id": "0" * 64, "width": 64, "height": 48, "media_type": "image/png"},
            "created_at": now,
            "finished_at": now,
            "priority": "interactive",
            "expires_at": "2030-01-01T00:00:00Z",
            "queue_position": None,
            "progress": 1.0,
            "stages": [],
            "error": None,
            "result": None,
            "links": {"self": "/jobs/x", "image": "/images/x", "overlay": None, "conversation": None},
        }
        return schema.Job.model_validate(data | changes)

    return make


class Scripted:
    """Answers each request with the next line of its script, the last one for ever.

    None breaks the connection; HANG keeps it open and says nothing until the test is over.
    """

    def __init__(self, *script: Answer | str | None) -> None:
        self.script = list(script)
        self.over = threading.Event()
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.requests.append(f"{self.command} {self.path}")
                outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                step = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                if isinstance(step, str):
                    outer.over.wait()
                    return
                if step is None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, headers, body = step
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Callable[..., Scripted]]:
    started: list[Scripted] = []

    def start(*script: Answer | str | None) -> Scripted:
        started.append(Scripted(*script))
        return started[-1]

    yield start
    for scripted in started:
        scripted.over.set()
        scripted.server.shutdown()
        scripted.server.server_close()


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Service:
    data: Path
    url: str
    api_key: str


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`glamm up` in a process of its own; it ends with an interrupt, upon which nothing of it may be left."""
    folder = tmp_path_factory.mktemp("up")
    data = folder / "data"
    checkpoint = write_checkpoint(folder)
    environment = os.environ | {"GLAMM_CHECKPOINT": str(checkpoint), "GLAMM_MAX_NEW_TOKENS": "6"}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.cli", "up", "--data", str(data)], env=environment, stdout=out, stderr=err
        )
    try:
        deadline = monotonic() + PATIENCE
        while not (data / "stack.json").exists():
            assert process.poll() is None, (folder / "err").read_text()
            assert monotonic() < deadline, (folder / "err").read_text()
            sleep(0.2)
        url = json.loads((data / "stack.json").read_text())["url"]
        yield Service(data, url, (data / "api-key").read_text().strip())
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 9, "four servers and five processes"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, (folder / "err").read_text()
        assert [child for child in family if child.is_running()] == []
        assert not (data / "stack.json").exists()
        assert url in (folder / "out").read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def command(monkeypatch, capsys) -> Callable[..., Run]:
    """Runs `glamm` in this process."""

    def run(*arguments: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["glamm", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return Run(int(ended.value.code or 0), shown.out, shown.err)

    return run


@pytest.fixture
def glamm(command) -> Callable[..., tuple[int, str, str]]:
    """The same, its exit code, output and errors to be unpacked."""

    def run(*arguments: object) -> tuple[int, str, str]:
        ended: Run = command(*arguments)
        return ended.code, ended.out, ended.err

    return run


@pytest.fixture
def on_service(command, service) -> Callable[..., Run]:
    """Runs `glamm` in this process, on the data folder of the service."""
    return lambda name, *arguments: command(name, "--data", service.data, *arguments)


@pytest.fixture
def picture(tmp_path) -> Path:
    canvas = Image.new("RGB", (160, 120), "steelblue")
    ImageDraw.Draw(canvas).ellipse((40, 30, 110, 100), fill="crimson")
    path = tmp_path / "picture.png"
    canvas.save(path)
    return path


@pytest.fixture
def client(service) -> Iterator[GlammClient]:
    with GlammClient(service.url, api_key=service.api_key) as client:
        yield client


PHRASE = jobs.Phrase("A ball", (0, 6), Rle(32, 48, "`1f00000000000000000000000000000"), (0.0, 0.0, 48.0, 32.0), 1, 0.9)
RESULT = jobs.Result((jobs.Answer("A ball.", "<p> A ball </p> [SEG].", (PHRASE,)),), "weights-1")


@dataclass(frozen=True)
class Played:
    """A gateway that listens, with real servers behind it, and a scheduler and workers that the test plays."""

    url: str
    backstage: Backstage

    def queued(self) -> list[Any]:
        statement = select(tables.jobs.c.id, tables.jobs.c.custom_id).where(tables.jobs.c.state == State.QUEUED)
        with self.backstage.engine.connect() as connection:
            return list(connection.execute(statement.order_by(tables.jobs.c.id)))

    def work(self, *failing: str) -> None:
        """Do every queued job; those of these custom_ids fail."""
        for job_id, custom_id in self.queued():
            if custom_id in failing:
                run = self.backstage.start(job_id, Stage.VISION)
                self.backstage.fail(run, Unavailable("object store").to_problem())
            else:
                self.backstage.succeed(job_id, RESULT)
        self.settle()

    def settle(self) -> None:
        """What the scheduler does of itself for batches."""
        with self.backstage.engine.begin() as connection:
            while batches.work_off(connection):
                pass


@pytest.fixture
def gateway(settings: Settings) -> Iterator[Played]:
    with playing(settings) as played:
        yield played


@pytest.fixture
def detached(settings: Settings) -> Iterator[Played]:
    """A gateway that names clients an address of the object store at which nobody answers."""
    with playing(settings.model_copy(update={"s3_public_endpoint": "127.0.0.1:1"})) as played:
        yield played


@contextmanager
def playing(settings: Settings) -> Iterator[Played]:
    listening = settings.model_copy(update={"gateway_port": 0})
    objects = ObjectStore(settings)
    objects.ensure_bucket()
    engine = create_engine(settings.database_url)
    server = Server(create_app(listening), listening)
    with capture_logs() as told, redis.Redis.from_url(settings.broker_url) as broker:
        thread = threading.Thread(target=server.run, name="gateway")
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), told
                sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield Played(f"http://127.0.0.1:{port}", Backstage(engine, objects, broker))
        finally:
            server.should_exit = True
            thread.join()
            engine.dispose()
