"""Which of several schedulers works, or builds exports: the one that holds an advisory lock of the database."""

import sqlalchemy
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError

from shared.logs import get_logger

log = get_logger(__name__)

LEADER_LOCK = 0x676C_616D_6D02
EXPORTER_LOCK = 0x676C_616D_6D07


class Election:
    """The lock belongs to a connection that does nothing else; it is free again the moment that connection ends.

    Two leaders for a moment do no harm: every move of the scheduler is safe beside another's, and so is every build of
    an export. The lock saves the work.
    """

    def __init__(self, engine: Engine, lock: int = LEADER_LOCK) -> None:
        self._engine = engine
        self._lock = lock
        self._connection: Connection | None = None

    def won(self) -> bool:
        """Whether this process is the leader now; tries to become it when there is none."""
        try:
            if self._connection is None:
                self._connection = self._candidate()
            else:
                self._connection.execute(select(1))
        except DBAPIError as error:
            log.warning("election.interrupted", error=str(error).splitlines()[0])
            self.resign()
        return self._connection is not None

    def resign(self) -> None:
        """Let another scheduler lead."""
        if self._connection is not None:
            # Invalidated and not given back to the pool: a pooled connection would keep the lock.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _candidate(self) -> Connection | None:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            elected = connection.execute(select(func.pg_try_advisory_lock(sqlalchemy.literal(self._lock)))).scalar()
        except DBAPIError:
            connection.close()
            raise
        if elected:
            log.info("election.won", lock=hex(self._lock))
            return connection
        connection.close()
        return None
