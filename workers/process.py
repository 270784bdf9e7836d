"""One worker process: its stations, its Celery consumer, its pulse, and its orderly end."""

import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from importlib import import_module
from queue import SimpleQueue
from typing import Any

from celery.worker import WorkController
from celery.worker import state as celery_state

from shared.database import create_engine
from shared.health import HealthFile
from shared.jobs import Stage
from shared.logs import get_logger
from shared.queue import celery_app, queue_of, send, serve
from shared.settings import Settings
from shared.transactions import Transactions
from workers.ears import Ears
from workers.engine import urgent_places
from workers.lanes import UrgentLane
from workers.leases import Leases
from workers.lifecycle import Lifecycle
from workers.pool import WakingPool
from workers.station import Station

log = get_logger(__name__)

_DATABASE_CONNECTIONS = 8


def open_station(stage: Stage, settings: Settings) -> Station:
    """Import and load one stage; the others' code and weights stay where they are."""
    opened: Station = import_module(f"workers.{stage.value}").open_station(settings)
    return opened


def default_concurrency(stages: Sequence[Stage], settings: Settings) -> int:
    """Two threads for each place in a batch: one group is fetched and stored while another runs."""
    batches = {Stage.VISION: settings.vision_batch, Stage.LLM: settings.llm_batch, Stage.PIXEL: settings.pixel_batch}
    return 2 * sum(batches[stage] for stage in stages)


class WorkerProcess:
    """Serves its stations' queues until it is told to stop, or until an engine is past help.

    concurrency: jobs under way at once. Urgent ones may be a few more, so that others never hold them up.
    """

    def __init__(self, settings: Settings, stations: Sequence[Station], concurrency: int, name: str) -> None:
        self._settings = settings
        self._stations = stations
        self._name = name
        self._health = HealthFile("worker", name, good_for=3 * settings.heartbeat_seconds)
        self._database = create_engine(settings.database_url, _DATABASE_CONNECTIONS)
        lease = timedelta(seconds=settings.lease_seconds)
        # A renewal that waited longer than a beat would only delay the next one.
        renewing = Transactions(self._database, patience=settings.heartbeat_seconds / 2)
        self._leases = Leases(renewing, lease, longest=settings.watchdog_seconds)
        self._ears = Ears(settings.database_url, self._leases)
        self._app = celery_app(settings.broker_url)
        transactions = Transactions(self._database, patience=settings.lease_seconds)
        self._lifecycles = [
            Lifecycle(
                station.work, station.engine, self._leases, transactions, partial(send, self._app), settings, name
            )
            for station in stations
        ]
        for station, lifecycle in zip(stations, self._lifecycles, strict=True):
            serve(self._app, station.work.stage, lifecycle.handle)
        self._app.steps["consumer"].add(UrgentLane)
        # Half of the jobs under way are in the engines.
        urgent_limit = concurrency + urgent_places(concurrency // 2)
        self._controller = WorkController(
            app=self._app,
            hostname=name,
            queues=[queue_of(station.work.stage, urgent=False) for station in stations],
            urgent_queues=[queue_of(station.work.stage, urgent=True) for station in stations],
            bulk_limit=concurrency,
            urgent_limit=urgent_limit,
            concurrency=urgent_limit + 1,
            pool_cls=WakingPool,
            loglevel=settings.log_level,
            ready_callback=self._on_ready,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        self._orders: SimpleQueue[int] = SimpleQueue()
        self._ended = threading.Event()
        self._failed = False

    def run(self) -> int:
        """Serve. Returns the exit status: 0 after SIGTERM or SIGINT, 1 when an engine broke or hung."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        threading.Thread(target=self._obey, name="orders", daemon=True).start()
        threading.Thread(target=self._pulse, name="pulse", daemon=True).start()
        try:
            self._controller.start()
        finally:
            self._ended.set()
            self._ears.close()
            self._health.remove()
            self._database.dispose()
        log.info("process.stopped")
        return 1 if self._failed else int(self._controller.exitcode or 0)

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._orders.put(0)  # the one thing here that may be done inside a signal handler

    def _on_ready(self, _consumer: Any) -> None:
        self._health.beat()
        log.info("process.ready", stages=[station.work.stage.value for station in self._stations], worker=self._name)

    def _obey(self) -> None:
        """The first order ends the process gently, the second gives everything back at once."""
        status = self._orders.get()
        log.info(
            "process.stopping", busy=[station.work.stage.value for station in self._stations if station.engine.busy]
        )
        for lifecycle in self._lifecycles:
            lifecycle.close()
        celery_state.should_stop = status
        if self._controller.hub is not None:
            self._controller.hub.call_soon(_nothing)
        draining = threading.Thread(target=self._drain, args=(self._settings.drain_seconds,), daemon=True)
        draining.start()
        self._orders.get()
        self._drain(0)

    def _drain(self, seconds: float) -> None:
        with ThreadPoolExecutor(len(self._stations)) as every:
            list(every.map(lambda station: station.engine.drain(seconds), self._stations))

    def _pulse(self) -> None:
        """Renew the leases and say that the process is well, for as long as its engines step."""
        while not self._ended.wait(self._settings.heartbeat_seconds):
            for station in self._stations:
                self._look_after(station)
            self._leases.renew()
            if not self._failed:
                self._health.beat()

    def _look_after(self, station: Station) -> None:
        engine = station.engine
        stalled = engine.stalled_for()
        if stalled > self._settings.watchdog_seconds and engine.broken is None:
            log.critical("engine.stalled", engine=engine.name, seconds=round(stalled))
            engine.abandon(f"the {engine.name} engine took no step for {stalled:.0f} s")
        if engine.broken is not None and not self._failed:
            self._failed = True
            self._orders.put(1)


def _nothing() -> None:
    """What Celery's loop is woken for: its own round, in which it sees that it should stop."""
