"""Waiting for a job to move or to finish without asking the database again and again."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from shared.database import Notification
from shared.logs import get_logger
from shared.states import FINISHED

_RESTART_SECONDS = 1.0

log = get_logger(__name__)


class Watcher:
    """Hears on one connection which jobs are in a new state and wakes those who wait for one of them.

    A wake is a hint: the waiter looks at the job again. All are woken when listening (re)starts, since notifications
    may have been missed, and when the watcher closes, since nobody would wake them any more.
    """

    def __init__(self, listen: Callable[[], AsyncIterator[Notification]]) -> None:
        self._listen = listen
        # Job → who waits for it → whether for every change, or for its end alone.
        self._waiting: defaultdict[UUID, dict[asyncio.Event, bool]] = defaultdict(dict)
        self.closed = False

    @contextmanager
    def watch(self, job_id: UUID, *, every_change: bool = False) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job should be looked at again: at its end, or at every change of state."""
        event = asyncio.Event()
        self._waiting[job_id][event] = every_change
        try:
            yield event
        finally:
            del self._waiting[job_id][event]
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    async def run(self) -> None:
        """Listen without end."""
        while True:
            try:
                async for notification in self._listen():
                    self._pass_on(notification)
            except Exception:
                # Waiters also look by themselves from time to time, so a bug here makes them late and not stuck.
                log.exception("listening.failed")
            await asyncio.sleep(_RESTART_SECONDS)

    def close(self) -> None:
        """Let everybody go who waits now or will."""
        self.closed = True
        self._wake_all()

    def _pass_on(self, notification: Notification) -> None:
        if notification.job_id is None:
            self._wake_all()
        elif notification.job_id in self._waiting:
            for event, every_change in self._waiting[notification.job_id].items():
                if every_change or notification.state in FINISHED:
                    event.set()

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()
