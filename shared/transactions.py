"""Transactions that outwait a short absence of the database."""

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.errors import Unavailable
from shared.logs import get_logger

T = TypeVar("T")

log = get_logger(__name__)

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


class Transactions:
    """Runs functions of a connection, each in a transaction of its own. Safe to share between threads."""

    def __init__(self, engine: Engine, patience: float) -> None:
        self._engine = engine
        self._patience = patience

    def run(self, change: Callable[[Connection], T]) -> T:
        """Commit what `change` does and return what it returned.

        While the database is away it is tried again, for `patience` seconds; then raises `Unavailable`. A commit whose
        answer got lost is repeated too: the moves of a job are fenced, so the second time changes nothing.
        """
        deadline = time.monotonic() + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                with self._engine.begin() as connection:
                    return change(connection)
            except (OperationalError, InterfaceError, PoolTimeoutError) as error:
                if time.monotonic() + pause > deadline:
                    raise Unavailable("database") from error
                log.warning("database.away", error=str(error).splitlines()[0])
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
