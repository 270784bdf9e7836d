"""A manifest with a gigabyte in one line: judged as it comes, by a gateway in a process of its own."""

from collections.abc import AsyncIterator, Callable

import httpx
import psutil
import pytest

from services.gateway.errors import MEDIA_TYPE
from tests.gateway.batches.conftest import JSONL
from tests.gateway.conftest import Process

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MB = 2**20
LENGTH = 1024 * MB
MOST_GROWTH = 32 * MB
"""What the gateway may take more than before: a line's worth and some pieces of 1 MB, many times over."""


async def test_a_gigabyte_in_one_line_is_refused_in_constant_memory(start: Callable[..., Process]) -> None:
    process = start()
    gateway, sizes, sent = psutil.Process(process.popen.pid), [], 0

    async def line() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'{"task": "vqa", "question": "'
        while sent < LENGTH:
            sizes.append(gateway.memory_info().rss)
            yield b"a" * MB
            sent += MB
        yield b'"}\n'

    async with httpx.AsyncClient(base_url=await process.url(), timeout=600) as api:
        # What is loaded with the first such request is not of this one's making.
        assert (await api.post("/batches", content=b"{}\n", headers=JSONL)).status_code == 422
        before = gateway.memory_info().rss
        refused = await api.post("/batches", content=line(), headers=JSONL)
        sizes.append(gateway.memory_info().rss)
    assert (refused.status_code, refused.headers["content-type"], sent) == (422, MEDIA_TYPE, LENGTH)
    problem = refused.json()
    assert [(fault["line"], fault["field"]) for fault in problem["lines"]] == [(1, "line")]
    assert "1,048,576 bytes" in problem["detail"]
    assert problem["remedy"]
    assert max(sizes) - before < MOST_GROWTH, f"it grew by {(max(sizes) - before) / MB:.0f} MB"
