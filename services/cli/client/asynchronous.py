"""The client whose calls are awaited."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx

from services.cli.client.connecting import connected
from services.cli.client.errors import refusal, unreachable
from services.cli.client.fronts import Awaited
from services.cli.client.operations import Operations
from services.cli.client.pieces import Cutter
from services.cli.client.requests import Data, File, Json
from services.cli.client.steps import Pause, Send, Steps
from shared.errors import GlammError

_BLOCK = 256 * 1024

T = TypeVar("T")
Item = TypeVar("Item")


class AsyncGlammClient(Operations, Awaited):
    """One service at one URL, for one event loop. Its arguments and methods are those of `GlammClient`."""

    def __init__(self, url: str, *, api_key: str | None = None, patience: float = 30.0, timeout: float = 60.0) -> None:
        self._http = connected(httpx.AsyncClient, url, api_key, timeout)
        self.url = url
        self.patience = patience

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, steps: Steps[T]) -> T:
        """Take the steps of a call, one by one; its result."""
        try:
            step = next(steps)
            while True:
                try:
                    answer = await self._take(step)
                except GlammError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def stream(self, opened: Steps[httpx.Response], cutter: Cutter[Item]) -> AsyncIterator[Item]:
        """The pieces of an answer that the steps open."""
        answer = await self.run(opened)
        try:
            async for data in answer.aiter_bytes():
                for piece in cutter.feed(data):
                    yield piece
        except httpx.TransportError as error:
            raise unreachable(answer.request, error) from error
        finally:
            await answer.aclose()
        for piece in cutter.close():
            yield piece

    async def pages(
        self, page: Callable[[str | None], Steps[Any]], items: Callable[[Any], Sequence[Item]]
    ) -> AsyncIterator[Item]:
        """The entries of page after page. page: the steps to the one at a cursor."""
        cursor = None
        while True:
            found = await self.run(page(cursor))
            for item in items(found):
                yield item
            cursor = found.next
            if cursor is None:
                return

    async def _take(self, step: Send | Pause) -> httpx.Response | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        asked = step.request
        body: dict[str, Any] = {}
        match asked.body:
            case Json(value):
                body = {"json": value}
            case Data(content):
                body = {"content": content}
            case File(path):
                body = {"content": _blocks(path)}
        request = self._http.build_request(
            asked.method, asked.path, params=asked.query or None, headers=asked.all_headers, **body
        )
        try:
            answer = await self._http.send(
                request, stream=True, auth=None if asked.elsewhere else httpx.USE_CLIENT_DEFAULT
            )
            if not (step.streamed and answer.is_success):
                await answer.aread()
        except httpx.TransportError as error:
            raise unreachable(request, error) from error
        if not answer.is_success:
            raise refusal(answer)
        return answer


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while block := await file.read(_BLOCK):
            yield block
