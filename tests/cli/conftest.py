"""Jobs as the gateway describes them, and a server that says what a test wants, for tests that need no gateway."""

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shared import schema

Answer = tuple[int, dict[str, str], bytes]
HANG = "hang"


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
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.requests.append(f"{self.command} {self.path}")
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
