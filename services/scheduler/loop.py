"""The scheduler's loop: woken by what jobs announce, and every few seconds besides."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Protocol

from services.scheduler.cleaning import Cleaner
from services.scheduler.election import Election
from services.scheduler.exporter import Exporter
from services.scheduler.forgetting import forget
from shared import batches, jobs
from shared.database import Listener, Notification, create_engine
from shared.errors import Unavailable
from shared.health import HealthFile
from shared.jobs import Message, State
from shared.logs import get_logger, job_context
from shared.queue import celery_app, send
from shared.settings import Settings
from shared.transactions import Transactions

log = get_logger(__name__)

_MAKES_ROOM_OR_WORK = frozenset({State.QUEUED.value, *(state.value for state in State if state.finished)})
"""A queued job may be admitted, and a finished one leaves its place in the window to another."""

_LEAST_GOOD_FOR = 30.0


class Beside(Protocol):
    """What works beside the loop, on a thread of its own."""

    name: str

    @property
    def alive(self) -> bool: ...


class Scheduler:
    """Moves jobs that no worker moves. Several may run; one at a time works, the others stand by.

    beside: without which the process is not worth keeping; they run when `run` begins.
    """

    def __init__(self, settings: Settings, name: str, beside: Sequence[Beside] = ()) -> None:
        self._settings = settings
        # One connection for the election, one for the moves.
        self._engine = create_engine(settings.database_url, 2)
        self._transactions = Transactions(self._engine, patience=settings.sweep_seconds)
        self._election = Election(self._engine)
        self._cleaner = Cleaner(settings)
        self._listener = Listener(settings.database_url)
        self._exporter = Exporter(settings)
        self._beside = [*beside, self._exporter]
        self._send: Callable[[Message], None] = partial(send, celery_app(settings.broker_url))
        self._health = HealthFile("scheduler", name, good_for=max(_LEAST_GOOD_FOR, 6 * settings.sweep_seconds))
        self._stopping = False

    def stop(self) -> None:
        """End `run` after the move under way; may be called from a signal handler."""
        self._stopping = True
        self._listener.wake()

    def run(self) -> None:
        """Schedule until `stop`. Raises RuntimeError where something beside has ended: a new process has it again."""
        self._exporter.start()
        log.info("process.ready")
        next_sweep = time.monotonic()
        try:
            while not self._stopping:
                self._require_company()
                self._health.beat()
                heard = self._listener.wait(max(0.0, next_sweep - time.monotonic()))
                due = time.monotonic() >= next_sweep
                if due:
                    next_sweep = time.monotonic() + self._settings.sweep_seconds
                if self._stopping or not (due or _calls_for_admission(heard)) or not self._election.won():
                    continue
                try:
                    if due:
                        self.sweep()
                    self.work_off()
                    self.admit()
                except Unavailable as error:
                    log.warning("round.cut_short", error=error.detail)
        finally:
            self._cleaner.close()
            self._exporter.stop()
            self._election.resign()
            self._listener.close()
            self._engine.dispose()
            self._health.remove()
            log.info("process.stopped")

    def _require_company(self) -> None:
        for one in self._beside:
            if not one.alive:
                raise RuntimeError(f"{one.name} has ended; its last lines in the log tell why")

    def admit(self) -> None:
        """Let queued jobs into the window, until it is full or none is left. Raises Unavailable."""
        window, reserve = self._settings.admission_window, self._settings.admission_reserve
        while admitted := self._transactions.run(lambda conn: jobs.admit(conn, window, reserve)):
            self._health.beat()
            for message in admitted:
                log.debug("job.admitted", job_id=str(message.job_id))
            self._send_all(admitted)

    def work_off(self) -> None:
        """Do what was asked of whole batches, and let others' jobs in meanwhile. Raises Unavailable."""
        while self._transactions.run(batches.work_off) and not self._stopping:
            self._health.beat()
            self.admit()

    def sweep(self) -> None:
        """Expire what is too old, find what nobody works on, and forget what is past its time. Raises Unavailable."""
        self._cleaner.start_round()
        while not self._stopping and (expired := self._transactions.run(jobs.expire)):
            self._health.beat()
            for job_id in expired:
                log.info("job.expired", job_id=str(job_id))
            # They may be a million, of one batch.
            self.admit()
        resend_after = timedelta(seconds=self._settings.resend_seconds)
        swept = self._transactions.run(lambda conn: jobs.sweep(conn, resend_after, self._settings.max_attempts))
        for job_id in swept.failed:
            with job_context(job_id):
                log.warning("job.failed", error="its attempts are used up")
        for message in swept.resend:
            with job_context(message.job_id, message.stage):
                log.info("message.sent_again", attempt=message.attempt)
        self._send_all(swept.resend)
        forget(self._transactions)

    def _send_all(self, messages: Sequence[Message]) -> None:
        """What cannot be sent now the sweep will find: its jobs wait where the messages say."""
        for message in messages:
            self._send(message)


def _calls_for_admission(heard: Sequence[Notification]) -> bool:
    return any(notice.state is None or notice.state in _MAKES_ROOM_OR_WORK for notice in heard)
