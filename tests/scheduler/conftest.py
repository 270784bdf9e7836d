"""Batches in a database, an exporter that tests drive by hand, and a receiver of webhooks: a real HTTP server."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import Engine

from services.scheduler.exporter import Exporter
from shared.database import create_engine
from shared.objects import ObjectStore
from shared.settings import Settings
from shared.transactions import Transactions
from tests.batches import Batches

SECONDS = 300  # how long a test waits for what must happen; never how long it takes


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """`answer` decides the status, and may wait; `said` is the body of each answer. With `tls` it speaks HTTPS."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], int] = lambda _: 204
        self.headers: dict[str, str] = {}
        self.said = b""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                receiver.requests.append(request)
                self.send_response(receiver.answer(request))
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(receiver.said)))
                self.end_headers()
                self.wfile.write(receiver.said)

            def log_message(self, *_: object) -> None:
                """Standard error is the test's."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def received(self, count: int) -> list[Request]:
        """The requests, once there are so many."""
        until(lambda: len(self.requests) >= count)
        return list(self.requests)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = create_engine(settings.database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def transactions(engine: Engine) -> Transactions:
    return Transactions(engine, patience=5)


@pytest.fixture
def batches(engine: Engine) -> Batches:
    return Batches(engine)


@pytest.fixture
def objects(settings: Settings) -> ObjectStore:
    objects = ObjectStore(settings)
    objects.ensure_bucket()
    return objects


@pytest.fixture
def exporter(settings: Settings, objects: ObjectStore) -> Exporter:
    """Not started: its moves are the test's."""
    return Exporter(settings)
