"""Signals at moments that are bad for them."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.cli import interrupts
from services.cli.interrupts import Interrupted, held_back, take
from tests.cli.conftest import HANG, PATIENCE, Scripted
from tests.deploy.compose import ROOT

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def before() -> Iterator[list[object]]:
    """The handlers of this process, which it gets back in the end."""
    handlers = [signal.getsignal(number) for number in SIGNALS]
    yield handlers
    for number, handler in zip(SIGNALS, handlers, strict=True):
        signal.signal(number, handler)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


def test_an_interrupt_while_the_command_imports_is_an_exit_code(tmp_path: Path) -> None:
    """It comes inside an `exec` of text, by which Python itself would take the process for one that SIGINT ended."""
    (tmp_path / "typer.py").write_text("exec('import signal; signal.raise_signal(signal.SIGINT)')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    ended = subprocess.run(
        [sys.executable, "-m", "services.cli", "version"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


# The one moment at which an interrupt leaves a lock of the HTTP client taken, however it is left.
AT_A_LOCK = """
import signal
from httpcore._synchronization import ThreadLock
from services.cli.__main__ import run

def __enter__(lock):
    taken = before(lock)
    ThreadLock.__enter__ = before
    signal.raise_signal(signal.SIGINT)
    return taken

def __exit__(lock, *error):
    ThreadLock.__exit__ = before
    signal.raise_signal(signal.SIGINT)
    before(lock, *error)

before = ThreadLock.{name}
ThreadLock.{name} = {name}
run()
"""


@pytest.mark.parametrize("name", ["__enter__", "__exit__"])
def test_an_interrupt_at_a_lock_waits_until_the_lock_is_safe(serve: Callable[..., Scripted], name: str) -> None:
    command = [sys.executable, "-c", AT_A_LOCK.format(name=name), "ready", "--url", serve(HANG).url]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_an_interrupt_ends_the_wait_for_a_lock_that_somebody_else_holds() -> None:
    class Held:
        def __enter__(self) -> None:
            signal.raise_signal(signal.SIGINT)
            assert lock.acquire(timeout=PATIENCE), "nothing has ended the wait"

        def __exit__(self, *error: object) -> None:
            """Never left, as it is never entered."""

    signal.signal(signal.SIGINT, signal.default_int_handler)
    take()
    with (lock := threading.Lock()), pytest.raises(Interrupted), Held():
        pass


def test_an_interrupt_that_is_noted_in_the_end_leaves_the_next_one_its_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    class Brief:
        entered = False

        def __enter__(self) -> None:
            signal.raise_signal(signal.SIGINT)
            self.entered = True

        def __exit__(self, *error: object) -> None:
            """There is nothing to give back."""

    def interrupted(brief: Brief) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        take()
        with brief, held_back() as check:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                check()

    monkeypatch.setattr(interrupts, "_MOST_MOMENTS", 1)
    for brief in (Brief(), Brief()):
        with pytest.raises(Interrupted):
            interrupted(brief)
        assert brief.entered


def stopped(work: Callable[[Callable[[], None], list[str]], None]) -> list[str]:
    """What the work has done, while signals were held back, by the time that one of them stopped it."""

    def run() -> None:
        with held_back() as check:
            work(check, done)

    done: list[str] = []
    with pytest.raises(Interrupted):
        run()
    return done


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_is_held_back_waits_for_the_next_check(number: signal.Signals) -> None:
    def work(check: Callable[[], None], done: list[str]) -> None:
        check()
        signal.raise_signal(number)
        done.append("not cut short")
        check()
        done.append("never")

    assert stopped(work) == ["not cut short"]
    assert handlers() == [signal.SIG_DFL] * 3, "nothing is left to clean up"


def test_a_clean_up_is_not_cut_short_by_another_signal() -> None:
    def work(check: Callable[[], None], done: list[str]) -> None:
        signal.raise_signal(signal.SIGTERM)
        try:
            check()
        finally:
            signal.raise_signal(signal.SIGINT)
            done.append("cleaned up")

    assert stopped(work) == ["cleaned up"]


def test_a_signal_after_the_last_check_ends_the_command_all_the_same() -> None:
    def work(_check: Callable[[], None], done: list[str]) -> None:
        signal.raise_signal(signal.SIGINT)
        done.append("whole")

    assert stopped(work) == ["whole"]


def test_without_a_signal_all_is_as_before(before: list[object]) -> None:
    with held_back() as check:
        check()
        assert handlers() != before
    assert handlers() == before


def test_what_the_process_was_told_to_ignore_it_goes_on_ignoring() -> None:
    """As under nohup, or in the background of a script."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with held_back() as check:
        signal.raise_signal(signal.SIGHUP)
        check()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
