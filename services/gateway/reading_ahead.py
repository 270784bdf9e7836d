"""A stream whose next pieces are made while one is sent, and an answer that closes it with itself."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing
from itertools import islice
from typing import Any, TypeVar

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

Item = TypeVar("Item")


class ClosingResponse(StreamingResponse):
    """Its stream ends where the client has gone; by itself it would be left as it is."""

    def __init__(self, stream: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(stream, media_type=media_type)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._stream):
            await super().__call__(scope, receive, send)


async def read_ahead(
    read: Callable[[Item], Coroutine[Any, Any, bytes]], items: Iterable[Item], at_once: int
) -> AsyncGenerator[bytes, None]:
    """What `read` makes of each item, in their order. So many are read at once, and held if nobody takes them yet.

    Whoever closes the stream early ends the reading; what one of them raises is raised in its place.
    """
    left = iter(items)
    under_way = deque(asyncio.create_task(read(item)) for item in islice(left, at_once))
    try:
        while under_way:
            piece = await under_way.popleft()
            under_way.extend(asyncio.create_task(read(item)) for item in islice(left, 1))
            if piece:
                yield piece
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
