"""A stream whose next pieces are made while one is sent."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from itertools import islice
from typing import Any, TypeVar

Item = TypeVar("Item")


async def read_ahead(
    read: Callable[[Item], Coroutine[Any, Any, bytes]], items: Iterable[Item], at_once: int
) -> AsyncIterator[bytes]:
    """What `read` makes of each item, in their order. So many are read at once, and held if nobody takes them yet.

    Whoever ends the stream early ends the reading; what one of them raises is raised in its place.
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
