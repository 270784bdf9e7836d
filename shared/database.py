"""Connections to Postgres: engines, migrations, and the notifications that tell waiters a job has moved."""

import asyncio
import os
import select
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy import ColumnElement, Connection, Engine, func, make_url

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

CHANNEL = "glamm_jobs"
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x676C_616D_6D00
_MIGRATING = threading.Lock()
"""Alembic keeps the migration that runs in module globals, so a process runs one at a time, whatever the database."""
CONNECT_SECONDS = 10
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


@dataclass(frozen=True)
class Notification:
    """A job is in a new state.

    Without a job it says that listening has (re)started: whatever came before was missed, so look again.
    """

    job_id: UUID | None
    state: str | None


def create_engine(url: str, pool_size: int = 5) -> Engine:
    """A pool of at most `pool_size` connections; a dead one is noticed and replaced when it is taken."""
    return sqlalchemy.create_engine(url, **_pool(pool_size))


def create_async_engine(url: str, pool_size: int = 5) -> "AsyncEngine":
    """As create_engine, for asyncio."""
    from sqlalchemy.ext import asyncio as sqlalchemy_asyncio  # brings greenlet, for the gateway alone

    return sqlalchemy_asyncio.create_async_engine(url, **_pool(pool_size))


def _pool(size: int) -> dict[str, Any]:
    return {
        "pool_size": size,
        "max_overflow": 0,
        "pool_pre_ping": True,
        "connect_args": {"connect_timeout": CONNECT_SECONDS},
    }


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database to the newest schema, or that of a revision; several may do so at once."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with _MIGRATING, engine.begin() as connection:
        connection.execute(sqlalchemy.select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def announcement(job_id: ColumnElement[str] | str, state: ColumnElement[str] | str) -> ColumnElement[Any]:
    """For the RETURNING of the statement that moves the job: waiters hear of it when the move is committed."""
    return func.pg_notify(CHANNEL, func.concat(job_id, " ", state))


def notify(conn: Connection, job_id: UUID, state: str) -> None:
    """Announce the state of a job with the commit of this transaction."""
    conn.execute(sqlalchemy.select(announcement(str(job_id), state)))


async def listen(url: str) -> AsyncIterator[Notification]:
    """The notifications from now on, without end; reconnects when the server goes away."""
    pause = _FIRST_PAUSE
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(
                libpq_url(url), autocommit=True, connect_timeout=CONNECT_SECONDS
            )
            async with connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                pause = _FIRST_PAUSE
                yield Notification(None, None)
                async for notice in connection.notifies():
                    yield _parsed(notice.payload)
        except psycopg.OperationalError:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


class Listener:
    """The same for a process without an event loop: waits for notifications, up to a time."""

    def __init__(self, url: str) -> None:
        self._url = libpq_url(url)
        self._connection: psycopg.Connection[Any] | None = None
        self._pause = _FIRST_PAUSE
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(self._woken, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self, seconds: float) -> list[Notification]:
        """What was announced since the last call; waits for the first up to `seconds`, or until `wake`.

        A lost connection is made anew here; until that succeeds the answer stays empty.
        """
        deadline = time.monotonic() + seconds
        try:
            if self._connection is None:
                self._connection = self._connect()
                return [Notification(None, None)]
            self._sleep([self._connection, self._woken], deadline)
            return [_parsed(notice.payload) for notice in self._connection.notifies(timeout=0)]
        except psycopg.OperationalError:
            self._disconnect()
            self._sleep([self._woken], min(deadline, time.monotonic() + self._pause))
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            return []

    def wake(self) -> None:
        """End the present or the next wait; may be called from a signal handler."""
        try:
            os.write(self._waker, b"\0")
        except BlockingIOError:
            return  # so many wakes are waiting already that the pipe is full

    def close(self) -> None:
        self._disconnect()
        os.close(self._waker)
        os.close(self._woken)

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_SECONDS)
        connection.execute(f"LISTEN {CHANNEL}")
        self._pause = _FIRST_PAUSE
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _sleep(self, sources: list[Any], deadline: float) -> None:
        readable, _, _ = select.select(sources, [], [], max(0.0, deadline - time.monotonic()))
        if self._woken in readable:
            os.read(self._woken, 4096)


def libpq_url(url: str) -> str:
    """The URL of SQLAlchemy's as PostgreSQL's own client library takes it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _parsed(payload: str) -> Notification:
    job_id, state = payload.split(" ")
    return Notification(UUID(job_id), state)
