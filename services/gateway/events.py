"""A job's life as Server-Sent Events: what it is now, each change of it, and its text while the model writes it."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from services.gateway.gateway import Gateway
from services.gateway.presentation import job_json
from shared import schema
from shared.errors import NotFound
from shared.logs import get_logger

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Nothing on the way keeps events back to send many at once."""
LAST = "end"
"""The id of the last event of a job: one who comes back with it has missed nothing and is told to stay away."""
HEARTBEAT_SECONDS = 15.0
LONGEST_SECONDS = 3600.0
"""A stream ends after so long and its client comes back: what a key may see is asked anew then."""
_COME_BACK_MS = 2000

log = get_logger(__name__)


async def job_events(gateway: Gateway, job_id: UUID, owner_id: UUID, root: str) -> AsyncIterator[bytes]:
    """The stream, until the job has finished, the gateway stops, or the stream has grown old.

    Changes that follow each other closely may be told as one. A database that goes away ends the stream.
    """
    with (
        gateway.streams.one(),
        gateway.watcher.watch(job_id, every_change=True) as moved,
        gateway.texts.follow(job_id) as following,
    ):
        clock = asyncio.get_running_loop().time
        end = clock() + LONGEST_SECONDS
        numbers = map(str, itertools.count(1))
        shown = None
        moved.set()
        yield f"retry: {_COME_BACK_MS}\n\n".encode()
        while not gateway.watcher.closed and clock() < end:
            if moved.is_set():
                # Cleared before the look, so that whatever moves the job after it ends the wait below.
                moved.clear()
                try:
                    view = await gateway.job(job_id, owner_id)
                except (NotFound, SQLAlchemyError) as error:
                    log.warning("stream.cut_short", error=str(error).splitlines()[0])
                    return
                if view.state is not shown:
                    shown = view.state
                    number = LAST if view.state.finished else next(numbers)
                    yield _event("job", number, job_json(view, root).model_dump_json())
                if view.state.finished:
                    return
            for answer, text in following.take().items():
                grown = schema.GrowingText(answer=answer, text=text)
                yield _event("text", next(numbers), grown.model_dump_json())
            if not await _either(moved, following.grown, HEARTBEAT_SECONDS):
                # A connection that died without a sound would wake nobody.
                moved.set()
                yield b": still here\n\n"


def _event(kind: str, number: str, data: str) -> bytes:
    """data: JSON, which has no line breaks."""
    return f"event: {kind}\nid: {number}\ndata: {data}\n\n".encode()


async def _either(one: asyncio.Event, other: asyncio.Event, seconds: float) -> bool:
    """Wait until one of the events is set; whether one was before the time was over."""
    waits = [asyncio.create_task(event.wait()) for event in (one, other)]
    try:
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for wait in waits:
            wait.cancel()
