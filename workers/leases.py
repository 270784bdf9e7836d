"""The leases this process holds, renewed together for as long as its engines step."""

import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from shared import jobs
from shared.errors import Unavailable
from shared.jobs import Run
from shared.logs import get_logger
from shared.transactions import Transactions
from workers.ticket import Ticket

log = get_logger(__name__)

_REMEMBERED = 1000


class Hold:
    """A run under a lease, which is renewed while the run gets on: `longest` seconds for each stretch of its way."""

    def __init__(self, run: Run, longest: float) -> None:
        self.run = run
        self._longest = longest
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._lost = False
        self._ticket: Ticket[Any] | None = None

    @property
    def gets_on(self) -> bool:
        """Whether it may still be renewed: it fetches or stores, waits its turn, or runs within the engine's limit."""
        ticket = self._ticket
        if ticket is None:
            since = self._begun
        elif ticket.finished_at is not None:
            since = ticket.finished_at
        else:
            # A waiting item is the engine's to begin, and one that runs is the engine's to end.
            return True
        return time.monotonic() < since + self._longest

    def watch(self, ticket: Ticket[Any]) -> None:
        """Cancel the ticket when the lease is lost, now or later."""
        with self._lock:
            self._ticket = ticket
            lost = self._lost
        if lost:
            ticket.cancel()

    def lose(self) -> None:
        """The job is someone else's, or nobody's: whatever is under way for it is in vain."""
        with self._lock:
            self._lost = True
            ticket = self._ticket
        if ticket is not None:
            ticket.cancel()


class Leases:
    """Every run that this process works on."""

    def __init__(self, transactions: Transactions, lease: timedelta, longest: float) -> None:
        self._transactions = transactions
        self._lease = lease
        self.longest = longest
        self._lock = threading.Lock()
        self._holds: dict[UUID, Hold] = {}
        # A job may end between its claim and its entry here.
        self._ended: deque[UUID] = deque(maxlen=_REMEMBERED)

    @contextmanager
    def hold(self, run: Run) -> Iterator[Hold]:
        """Keep the run's lease alive inside the block for as long as it gets on."""
        hold = Hold(run, self.longest)
        with self._lock:
            self._holds[run.token] = hold
            ended = run.job_id in self._ended
        try:
            if ended:
                self._renew({run.token: hold})
            yield hold
        finally:
            with self._lock:
                del self._holds[run.token]

    def look_at(self, job_ids: Collection[UUID]) -> None:
        """Jobs are said to have ended: those of them that run here are renewed now, or cancelled if it is so."""
        with self._lock:
            self._ended.extend(job_ids)
            holds = {token: hold for token, hold in self._holds.items() if hold.run.job_id in job_ids}
        self._renew(holds)

    def renew(self) -> None:
        """Extend all leases at once. A run whose lease is gone has its work cancelled."""
        with self._lock:
            holds = {token: hold for token, hold in self._holds.items() if hold.gets_on}
        self._renew(holds)

    def _renew(self, holds: Mapping[UUID, Hold]) -> None:
        if not holds:
            return
        try:
            kept = self._transactions.run(lambda conn: jobs.renew(conn, list(holds), self._lease))
        except Unavailable as error:
            # The next beat comes well before the leases end.
            log.warning("leases.not_renewed", runs=len(holds), error=error.detail)
            return
        for token in holds.keys() - kept:
            with self._lock:
                lost = self._holds.get(token)
            if lost is not None:
                log.info("lease.lost", job_id=str(lost.run.job_id), stage=lost.run.stage.value)
                lost.lose()
