"""A stream's next pieces are read while one is sent: in order, so many at once, and not after its end."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from services.gateway.reading_ahead import ClosingResponse, read_ahead

pytestmark = pytest.mark.anyio


async def test_pieces_come_in_order_and_two_are_read_at_once() -> None:
    reading, most = 0, 0
    gates = [asyncio.Event() for _ in range(5)]

    async def read(number: int) -> bytes:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        if number:
            gates[number].set()
        else:  # is read only after the next has been
            await gates[1].wait()
        reading -= 1
        return b"%d" % number if number != 3 else b""

    assert [piece async for piece in read_ahead(read, range(5), 2)] == [b"0", b"1", b"2", b"4"]
    assert most == 2


async def test_whoever_leaves_ends_the_reading() -> None:
    begun, ended = list[int](), list[int]()

    async def read(number: int) -> bytes:
        begun.append(number)
        if number:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(number)
        return b"piece"

    stream = read_ahead(read, range(9), 3)
    assert isinstance(stream, AsyncGenerator)
    assert await anext(stream) == b"piece"
    await asyncio.sleep(0)
    await stream.aclose()
    assert begun == [0, 1, 2, 3]
    assert sorted(ended) == [1, 2, 3]


async def test_what_a_reading_raises_is_raised() -> None:
    async def read(number: int) -> bytes:
        if number == 1:
            raise ConnectionError("gone")
        return b"piece"

    stream = read_ahead(read, range(3), 2)
    assert await anext(stream) == b"piece"
    with pytest.raises(ConnectionError):
        await anext(stream)


async def test_an_answer_closes_its_stream_when_the_client_has_gone() -> None:
    sent, closed = asyncio.Event(), asyncio.Event()

    async def stream() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"piece"
        finally:
            closed.set()

    async def receive() -> Message:
        await sent.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            sent.set()
        await asyncio.sleep(0)

    answer = ClosingResponse(stream(), "application/jsonl")
    await answer({"type": "http", "asgi": {"version": "3.0"}}, receive, send)
    assert closed.is_set()
