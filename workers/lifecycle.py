"""The life of a message in a worker: claim the job, fetch, run in the engine, complete, hand on."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from datetime import timedelta
from typing import Generic

from sqlalchemy import Connection
from structlog.contextvars import bound_contextvars

from shared import jobs
from shared.errors import InvalidInput, LimitReached, NotFound, Unavailable
from shared.jobs import Message, Run, Timing
from shared.logs import get_logger, job_context
from shared.settings import Settings
from shared.transactions import Transactions
from workers.engine import Engine
from workers.errors import FeaturesGone, explained
from workers.leases import Hold, Leases
from workers.ticket import GivenBack
from workers.work import Done, In, Out, Record, Work

log = get_logger(__name__)

Send = Callable[[Message], None]


class Lifecycle(Generic[In, Out, Record]):
    """Handles the messages of one stage. `handle` runs on many threads at once."""

    def __init__(
        self,
        work: Work[In, Out, Record],
        engine: Engine[In, Out],
        leases: Leases,
        transactions: Transactions,
        send: Send,
        settings: Settings,
        worker: str,
    ) -> None:
        self._work = work
        self._engine = engine
        self._leases = leases
        self._transactions = transactions
        self._send = send
        self._settings = settings
        self._worker = worker
        self._closing = threading.Event()

    def close(self) -> None:
        """Take up no job from now on: messages that still arrive go back to the queue."""
        self._closing.set()

    def handle(self, message: Message) -> None:
        """Do what the message asks, if it is still to be done. Never raises for what befalls one job."""
        with job_context(message.job_id, message.stage):
            if self._closing.is_set():
                self._send_on(message)
                return
            run = self._claim(message)
            if run is None:
                return
            with bound_contextvars(attempt=run.attempt), self._leases.hold(run) as hold:
                self._finish(hold)

    def _claim(self, message: Message) -> Run | None:
        lease = timedelta(seconds=self._settings.lease_seconds)
        try:
            run = self._transactions.run(lambda conn: jobs.enter(conn, message, self._worker, lease))
        except Unavailable as error:
            log.error("message.dropped", error=error.detail)  # the sweep sends it again
            return None
        if run is None:
            log.info("message.stale")
        else:
            log.info("stage.started", attempt=run.attempt)
        return run

    def _finish(self, hold: Hold) -> None:
        """Bring the run to one of its ends. While the database is away the lease runs out and the sweep follows."""
        try:
            following = self._outcome(hold)
        except Unavailable as error:
            log.error("outcome.dropped", error=error.detail)
            return
        for message in following:
            self._send_on(message)

    def _outcome(self, hold: Hold) -> Sequence[Message]:
        run = hold.run
        try:
            record, timing = self._compute(hold)
        except CancelledError:
            log.info("stage.canceled")
            return ()
        except GivenBack:
            log.info("stage.given_back")
            return self._moved(lambda conn: jobs.give_back(conn, run))
        except FeaturesGone as gone:
            part = gone.part
            log.info("stage.rewound", part=part)
            return self._moved(lambda conn: jobs.rewind(conn, run, part, self._settings.max_rewinds))
        except Unavailable as away:
            # An outage is no fault of the job: the start does not count, and the sweep's delay is the pause.
            log.warning("stage.postponed", error=away.detail)
            self._moved(lambda conn: jobs.give_back(conn, run))
            return ()
        except (InvalidInput, NotFound, LimitReached) as error:
            problem = error.to_problem()
            log.warning("stage.failed", error=error.detail)
            self._transactions.run(lambda conn: jobs.fail(conn, run, problem))
            return ()
        except Exception as error:
            problem = explained(error).to_problem()
            log.exception("stage.failed", error=problem.detail)
            return self._moved(lambda conn: jobs.retry(conn, run, problem, self._settings.max_attempts))
        completed = self._transactions.run(lambda conn: self._work.complete(conn, run, record, timing))
        if completed is None:
            log.info("stage.superseded")
            return ()
        log.info(
            "stage.completed",
            cached=timing.cached,
            fetch_ms=round(timing.fetch_ms, 1),
            wait_ms=round(timing.engine_wait_ms, 1),
            engine_ms=round(timing.engine_ms, 1),
            store_ms=round(timing.store_ms, 1),
        )
        return completed

    def _compute(self, hold: Hold) -> tuple[Record, Timing]:
        begun = time.monotonic()
        run = self._work.take_in(hold.run, self._transactions)
        fetched = self._work.fetch(run)
        fetch_ms = (time.monotonic() - begun) * 1000
        if isinstance(fetched, Done):
            return fetched.record, Timing(fetch_ms=fetch_ms, cached=True)
        ticket = self._engine.submit(fetched, self._leases.longest * self._work.size(fetched), hold.run.urgent)
        hold.watch(ticket)
        log.debug("stage.in_engine", fetch_ms=round(fetch_ms, 1))
        output = ticket.result()
        computed = time.monotonic()
        record = self._work.keep(run, output)
        return record, Timing(
            fetch_ms=fetch_ms,
            engine_wait_ms=ticket.waited_ms,
            engine_wait_steps=ticket.waited_steps,
            engine_ms=ticket.ran_ms,
            store_ms=(time.monotonic() - computed) * 1000,
            cached=self._work.was_cached(fetched),
        )

    def _moved(self, move: Callable[[Connection], Message | None]) -> Sequence[Message]:
        message = self._transactions.run(move)
        return () if message is None else (message,)

    def _send_on(self, message: Message) -> None:
        try:
            self._send(message)
        except Unavailable as error:
            # The job is where the message says, and the sweep finds it there.
            log.warning("message.unsent", to=message.stage.value, error=error.detail)
