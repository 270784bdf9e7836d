"""Delivers webhooks, on a thread of its own: a slow receiver holds up neither the jobs nor the other receivers.

Several schedulers may deliver at the same time, elected or not: each takes what no other has taken.
"""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

from sqlalchemy import Connection

from services.scheduler.outgoing import SECONDS, Sender
from shared.database import create_engine
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.settings import Settings
from shared.transactions import Transactions
from shared.version import VERSION
from shared.webhooks import deliveries, signing
from shared.webhooks.deliveries import Due

MOST_AT_ONCE = 32
MOST_AT_AN_ENDPOINT = 4
LOOK_SECONDS = 1.0
_PRUNE_SECONDS = 600.0
_LEASE = timedelta(seconds=6 * SECONDS)
_STOP_SECONDS = 5.0
_DATABASE_CONNECTIONS = 4

T = TypeVar("T")

log = get_logger(__name__)


class Deliverer:
    """Runs from `start` to `stop`, or inside of `with`. Raises InvalidSettings where no TLS can be spoken."""

    name = "webhooks"

    def __init__(self, settings: Settings) -> None:
        self._sender = Sender(settings.webhook_allow_private, MOST_AT_ONCE)
        self._engine = create_engine(settings.database_url, _DATABASE_CONNECTIONS)
        self._transactions = Transactions(self._engine, patience=settings.sweep_seconds)
        self._database = ThreadPoolExecutor(_DATABASE_CONNECTIONS, "webhooks-database")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._under_way: Counter[UUID] = Counter()

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let what is under way come to its end for a few seconds. The rest is delivered by whoever is next."""
        self._stopping.set()
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._changed.set)
        self._thread.join()
        self._database.shutdown()
        self._engine.dispose()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._deliver_all())

    async def _deliver_all(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        next_prune = time.monotonic()
        async with self._sender as sender:
            while not self._stopping.is_set():
                self._changed.clear()
                claimed = 0
                try:
                    if time.monotonic() >= next_prune:
                        # First of all, so that pruning which fails does not keep deliveries waiting.
                        next_prune = time.monotonic() + _PRUNE_SECONDS
                        if await self._prune():
                            next_prune = time.monotonic()
                    for due in await self._claim():
                        claimed += 1
                        self._under_way[due.endpoint_id] += 1
                        task = asyncio.create_task(self._deliver(sender, due))
                        tasks.add(task)
                        task.add_done_callback(tasks.discard)
                except Unavailable as error:
                    log.warning("webhooks.postponed", error=error.detail)
                except Exception:
                    # A bug met once must not end all deliveries.
                    log.exception("webhooks.failed")
                if not claimed:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS)
            if tasks:
                await asyncio.wait(tasks, timeout=_STOP_SECONDS)
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _claim(self) -> Sequence[Due]:
        room = MOST_AT_ONCE - self._under_way.total()
        if room <= 0:
            return ()
        full = [endpoint for endpoint, count in self._under_way.items() if count >= MOST_AT_AN_ENDPOINT]
        return await self._transaction(lambda conn: deliveries.claim(conn, room, full, _LEASE))

    async def _deliver(self, sender: Sender, due: Due) -> None:
        try:
            body = json.dumps(due.payload, ensure_ascii=False, separators=(",", ":")).encode()
            headers = {
                "content-type": "application/json",
                "user-agent": f"GLaMM-Webhooks/{VERSION}",
                **signing.headers(str(due.id), int(time.time()), body, due.secrets),
            }
            tried = await sender.post(due.url, headers, body)
            log.info(
                "webhook.delivered" if tried.delivered else "webhook.missed",
                webhook_id=str(due.endpoint_id),
                delivery_id=str(due.id),
                event_type=due.payload["type"],
                attempt=due.attempt,
                status=tried.status,
                error=tried.error,
                ms=tried.ms,
            )
            if await self._transaction(lambda conn: deliveries.settle(conn, due, tried)):
                log.warning("webhook.disabled", webhook_id=str(due.endpoint_id))
        except Unavailable as error:
            # It is due again when the lease ends.
            log.warning("webhook.unsettled", delivery_id=str(due.id), error=error.detail)
        except Exception:
            log.exception("webhook.failed", delivery_id=str(due.id))
        finally:
            self._under_way[due.endpoint_id] -= 1
            self._under_way += Counter()  # forgets endpoints with nothing under way
            self._changed.set()

    async def _prune(self) -> bool:
        """Whether there may be more of it."""
        if pruned := await self._transaction(deliveries.prune):
            log.info("webhooks.pruned", deliveries=pruned)
        return pruned >= deliveries.PRUNED_AT_ONCE

    async def _transaction(self, change: Callable[[Connection], T]) -> T:
        """Raises Unavailable."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._database, self._transactions.run, change)
