"""Notifications reach whoever listens, with the commit and after a lost connection."""

import asyncio
from collections.abc import Iterator
from threading import Timer
from time import monotonic, sleep
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from shared.database import Listener, Notification, create_async_engine, create_engine, listen, notify

START = Notification(None, None)
PATIENCE = 300.0
JOB = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
LISTENERS = "FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def announce(engine: Engine, job_id: UUID, state: str) -> None:
    with engine.begin() as conn:
        notify(conn, job_id, state)


def cut_connections(engine: Engine) -> None:
    with engine.begin() as conn:
        assert conn.scalar(text(f"SELECT count(pg_terminate_backend(pid)) {LISTENERS}")) == 1


def listeners(engine: Engine) -> int:
    with engine.connect() as conn:
        return int(conn.scalar(text(f"SELECT count(*) {LISTENERS}")) or 0)


def received(listener: Listener) -> list[Notification]:
    """The next that come, however many calls it takes."""
    while not (notifications := listener.wait(30)):
        pass
    return notifications


def test_a_listener_hears_what_is_committed_in_order(engine: Engine, database_url: str) -> None:
    with Listener(database_url) as listener:
        assert received(listener) == [START]
        with engine.begin() as conn:
            notify(conn, JOB, "vision")
            notify(conn, JOB, "llm")
        with engine.connect() as conn:
            notify(conn, JOB, "rolled back")
        assert received(listener) == [Notification(JOB, "vision"), Notification(JOB, "llm")]
        assert listener.wait(0) == []


def test_a_listener_connects_again_and_says_so(engine: Engine, database_url: str) -> None:
    with Listener(database_url) as listener:
        assert received(listener) == [START]
        cut_connections(engine)
        assert received(listener) == [START]
        announce(engine, JOB, "pixel")
        assert received(listener) == [Notification(JOB, "pixel")]


def test_a_wait_can_be_ended_from_outside(database_url: str) -> None:
    with Listener(database_url) as listener:
        received(listener)
        for _ in range(100_000):
            listener.wake()  # more than the pipe holds
        waker = Timer(0.05, listener.wake)
        waker.start()
        assert listener.wait(3600) == []
        waker.join()


def test_a_listener_without_a_server_keeps_trying() -> None:
    with Listener("postgresql+psycopg://nobody@127.0.0.1:1/none") as listener:
        assert [listener.wait(0) for _ in range(2)] == [[], []]


def test_listening_in_an_event_loop_survives_a_lost_connection(engine: Engine, database_url: str) -> None:
    async def story() -> list[Notification]:
        heard = []
        stream = listen(database_url)
        heard.append(await anext(stream))
        await asyncio.to_thread(announce, engine, JOB, "queued")
        heard.append(await anext(stream))
        await asyncio.to_thread(cut_connections, engine)
        heard.append(await anext(stream))
        await asyncio.to_thread(announce, engine, JOB, "vision")
        heard.append(await anext(stream))
        await stream.aclose()
        return heard

    assert asyncio.run(story()) == [START, Notification(JOB, "queued"), START, Notification(JOB, "vision")]
    # The server notices a moment later that a client has gone.
    deadline = monotonic() + PATIENCE
    while listeners(engine):
        assert monotonic() < deadline
        sleep(0.05)


def test_asynchronous_connections_run_the_same_functions(database_url: str) -> None:
    async def story() -> object:
        engine = create_async_engine(database_url)
        async with engine.begin() as conn:
            await conn.run_sync(notify, uuid4(), "queued")
            answer = await conn.scalar(text("SELECT 1"))
        await engine.dispose()
        return answer

    assert asyncio.run(story()) == 1
