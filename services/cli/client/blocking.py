"""The client that blocks until an answer is there."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from services.cli.client.connecting import connected
from services.cli.client.errors import refusal, unreachable
from services.cli.client.fronts import Blocking
from services.cli.client.operations import Operations
from services.cli.client.pieces import Cutter
from services.cli.client.requests import Data, File, Json
from services.cli.client.steps import Pause, Send, Steps
from shared.errors import GlammError

T = TypeVar("T")
Item = TypeVar("Item")


class GlammClient(Operations, Blocking):
    """One service at one URL. Safe to share between threads.

    `patience` is how many seconds a call keeps trying while the service is out of reach or asks to come back later.
    The constructor raises `InvalidInput` for what is no URL.
    """

    def __init__(self, url: str, *, api_key: str | None = None, patience: float = 30.0, timeout: float = 60.0) -> None:
        self._http = connected(httpx.Client, url, api_key, timeout)
        self.url = url
        self.patience = patience

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, steps: Steps[T]) -> T:
        """Take the steps of a call, one by one; its result."""
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._take(step)
                except GlammError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def stream(self, opened: Steps[httpx.Response], cutter: Cutter[Item]) -> Iterator[Item]:
        """The pieces of an answer that the steps open."""
        answer = self.run(opened)
        try:
            for data in answer.iter_bytes():
                yield from cutter.feed(data)
        except httpx.TransportError as error:
            raise unreachable(answer.request, error) from error
        finally:
            answer.close()
        yield from cutter.close()

    def pages(self, page: Callable[[str | None], Steps[Any]], items: Callable[[Any], Sequence[Item]]) -> Iterator[Item]:
        """The entries of page after page. page: the steps to the one at a cursor."""
        cursor = None
        while True:
            found = self.run(page(cursor))
            yield from items(found)
            cursor = found.next
            if cursor is None:
                return

    def _take(self, step: Send | Pause) -> httpx.Response | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        asked = step.request
        with ExitStack() as opened:
            body: dict[str, Any] = {}
            match asked.body:
                case Json(value):
                    body = {"json": value}
                case Data(content):
                    body = {"content": content}
                case File(path):
                    body = {"content": opened.enter_context(path.open("rb"))}
            request = self._http.build_request(
                asked.method, asked.path, params=asked.query or None, headers=asked.all_headers, **body
            )
            try:
                answer = self._http.send(
                    request, stream=True, auth=None if asked.elsewhere else httpx.USE_CLIENT_DEFAULT
                )
                if not (step.streamed and answer.is_success):
                    answer.read()
            except httpx.TransportError as error:
                raise unreachable(request, error) from error
        if not answer.is_success:
            raise refusal(answer)
        return answer
