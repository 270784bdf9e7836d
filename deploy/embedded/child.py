"""Child processes that cannot outlive this one, and that an interrupt cannot lose.

On Linux the kernel signals a child when the *thread* that forked it ends, so all forks happen on one thread that lives
as long as the process. Signal handlers run on the main thread alone, so a Ctrl-C never falls between a fork and the
note that it happened either.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Command:
    """What to run. `user` is (uid, gid) to change to; `death_signal` is sent by the kernel when this process ends."""

    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    user: tuple[int, int] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL


class Child:
    """One run of a command, in a session of its own so that the terminal's Ctrl-C does not reach it."""

    def __init__(self, command: Command, log: Path) -> None:
        self.command = command
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Fork; returns once the process exists. Output is appended to the log file."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        _spawner.call(self._fork)

    def _fork(self) -> None:
        command = self.command
        user = "-" if command.user is None else f"{command.user[0]}:{command.user[1]}"
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(command.death_signal)), user]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*launcher, *command.argv],
                env=None if command.env is None else dict(command.env),
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs and before it started; negative for a signal, as subprocess has it."""
        return self._process.poll() if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it ended.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        if self._process is None:
            raise RuntimeError("the process was never started")
        return self._process.wait(timeout)

    def ask_to_stop(self) -> None:
        """Send the stop signal to the process alone and return at once; nothing where there is none."""
        _spawner.call(lambda: None)  # a fork that an interrupt cut short has happened by now, or never will
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.command.stop_signal)

    def stop(self, timeout: float) -> None:
        """End it: the stop signal, and after `timeout` seconds SIGKILL for its session. Returns once it is gone."""
        self.ask_to_stop()
        if self._process is None:
            return
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL for the process and whatever it started in its session; returns once it is gone."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class _Spawner:
    """Runs callables one after another on one thread that never ends."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started = False

    def call(self, function: Callable[[], T]) -> T:
        with self._lock:
            if not self._started:
                threading.Thread(target=self._run, name="spawner", daemon=True).start()
                self._started = True
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self._queue.put(work)
        return future.result()

    def _run(self) -> None:
        while True:
            self._queue.get()()


_spawner = _Spawner()
