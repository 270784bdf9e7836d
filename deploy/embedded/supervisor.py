"""Keeps processes running: starts them in order, starts again what ends by itself, ends all of them on the way out."""

import signal
import threading
import time
from collections.abc import Callable

from deploy.embedded.errors import EmbeddedError
from deploy.embedded.unit import START_SECONDS, Unit

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STEADY_SECONDS = 60.0
"""A process that lived this long before it ended is started again without the delay that earlier ends have built up."""


class Supervisor:
    """Supervises units. `report` is told, in a line each, what happens to them; it is called from several threads."""

    def __init__(self, report: Callable[[str], None], start_timeout: float = START_SECONDS) -> None:
        self._report = report
        self._start_timeout = start_timeout
        self._groups: list[tuple[Unit, ...]] = []
        self._watchers: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._launching = threading.Lock()

    @property
    def units(self) -> list[Unit]:
        return [unit for group in self._groups for unit in group]

    def start(self, *units: Unit) -> None:
        """Launch the units in order, wait until all are ready, and watch them from then on.

        Raises:
            StartError: one of them could not be started. Call `stop` then, and after an interrupt.
        """
        self._groups.append(units)
        for unit in units:
            unit.launch()
        for unit in units:
            unit.wait_ready(self._start_timeout)
        for unit in units:
            watcher = threading.Thread(target=self._watch, args=(unit,), name=f"watch {unit.name}", daemon=True)
            self._watchers.append(watcher)
            watcher.start()

    def stop(self) -> None:
        """End all units, the last started first, whatever state the start was in. Nothing of them is left after it."""
        with self._launching:
            self._stopping.set()
        for group in reversed(self._groups):
            for unit in reversed(group):
                unit.ask_to_stop()
            for unit in reversed(group):
                unit.stop()
        for watcher in self._watchers:
            watcher.join()

    def _watch(self, unit: Unit) -> None:
        delay = FIRST_DELAY
        while True:
            since = time.monotonic()
            unit.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - since > STEADY_SECONDS:
                delay = FIRST_DELAY
            self._report(f"{unit.name} {_ending(unit.exit_code)}; starting it again in {delay:g} s")
            if self._stopping.wait(delay):
                return
            delay = min(2 * delay, LONGEST_DELAY)
            try:
                with self._launching:
                    if self._stopping.is_set():
                        return
                    unit.launch()
                unit.wait_ready(self._start_timeout, given_up=self._stopping, fixed=True)
            except EmbeddedError as error:
                if not self._stopping.is_set():
                    self._report(f"{error.detail} {error.remedy or ''}".strip())
                continue
            self._report(f"{unit.name} runs again")


def _ending(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended with code {exit_code}"
