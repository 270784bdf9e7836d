"""One supervised process: how it is started, when it is ready and how it ends. Servers and our own processes alike."""

import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from deploy.embedded import ports
from deploy.embedded.child import Child, Command
from deploy.embedded.errors import StartError

POLL_SECONDS = 0.03
START_SECONDS = 300.0
"""Far more than a start takes: a host that trains a model at the same time is slow, and what hangs is rare."""
PORT_ATTEMPTS = 5


class Unit(ABC):
    """A process with a log file, and with ports of its own where it listens.

    The ports are chosen before the first launch and kept from then on, so a restarted process is found where it was.
    """

    stop_seconds: float = 10.0

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.child: Child | None = None

    @abstractmethod
    def command(self) -> Command:
        """What to run, with the ports chosen so far."""

    @abstractmethod
    def probe(self) -> bool:
        """Whether the running process does its work. Must answer quickly and not raise."""

    def prepare(self) -> None:  # noqa: B027
        """Anything to do before each launch, such as making the data folder."""

    def listens_on(self) -> tuple[int, ...]:
        """The ports that the process has to have opened itself before it counts as ready."""
        return ()

    def choose_ports(self, again: bool) -> bool:
        """Choose the ports; `again` when one of the last choice was taken. False if there is no choice."""
        return not again

    def finish(self) -> None:  # noqa: B027
        """Anything to do once it is ready, after each launch."""

    @property
    def pid(self) -> int | None:
        return self.child.pid if self.child else None

    @property
    def alive(self) -> bool:
        return self.child is not None and self.child.alive

    @property
    def exit_code(self) -> int | None:
        return self.child.exit_code if self.child else None

    def start(self, timeout: float = START_SECONDS) -> Self:
        """Launch it and wait until it is ready.

        Raises:
            StartError: it ended or was not ready in time; nothing of it is left running.
        """
        self.launch()
        self.wait_ready(timeout)
        return self

    def launch(self) -> None:
        """Start the process without waiting for it."""
        if self.child is None:
            self.choose_ports(again=False)
        self.prepare()
        self.child = Child(self.command(), self.log)
        self.child.start()

    def wait_ready(
        self, timeout: float = START_SECONDS, given_up: threading.Event | None = None, fixed: bool = False
    ) -> None:
        """Wait until the launched process is ready, trying other ports if one of its own was taken and not `fixed`.

        Raises:
            StartError: it ended, was not ready in time, or `given_up` was set; nothing of it is left running.
        """
        given_up = given_up or threading.Event()
        deadline = time.monotonic() + timeout
        moves_left = 0 if fixed else PORT_ATTEMPTS
        while not (self.alive and self._listening() and self.probe()):
            if not self.alive:
                if moves_left > 0 and not all(map(ports.is_free, self.listens_on())) and self.choose_ports(again=True):
                    moves_left -= 1
                    self.launch()
                    continue
                raise StartError(self.name, f"it ended with code {self.exit_code}", self.log)
            if time.monotonic() > deadline or given_up.wait(POLL_SECONDS):
                self.stop()
                raise StartError(self.name, f"it was not ready within {timeout:g} s", self.log)
        self.finish()

    def _listening(self) -> bool:
        """Whether this very process opened the ports: another one may answer there."""
        wanted = set(self.listens_on())
        if not wanted or self.pid is None:
            return True
        try:
            connections = psutil.Process(self.pid).net_connections(kind="tcp")
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it just ended, or is between users
            return False
        return wanted <= {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}

    def wait(self) -> None:
        """Until the launched process has ended."""
        if self.child is not None:
            self.child.wait()

    def ask_to_stop(self) -> None:
        """Tell it to end, without waiting for it."""
        if self.child is not None:
            self.child.ask_to_stop()

    def stop(self, timeout: float | None = None) -> None:
        """End the process if it runs: politely, then after `timeout` seconds for good."""
        if self.child is not None:
            self.child.stop(self.stop_seconds if timeout is None else timeout)

    def __enter__(self) -> Self:
        return self if self.alive else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
