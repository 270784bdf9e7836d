"""Ctrl-C and the polite ends, at any moment of a command.

Python turns a signal into an exception wherever the main thread happens to be. In most places that is right. In a
clean-up it leaves things undone, and in a callback, of which each import makes one, it is printed and forgotten. As a
lock is taken or given back, before the block that would see to it, the lock stays taken for good, and who wants it
next, such as an HTTP client that is being closed, waits for ever.
"""

import _thread
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 130
"""What a shell makes of an end by SIGINT, for whichever signal it was."""

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_BRIEF = ("__enter__", "__exit__")
"""Functions that take and give back locks; one that does more calls others for it, which can be interrupted."""
_MOMENT = 0.01
_MOST_MOMENTS = 100
"""One that waits for long, as for a lock that somebody else holds, is interrupted nevertheless."""
_put_off = 0


class Interrupted(KeyboardInterrupt):
    """What a signal raises here.

    CPython notes a KeyboardInterrupt proper that leaves an `exec` of text, as each dataclass is made by one; a process
    started with `python -m` then dies of SIGINT at its end, though the exception was caught and has an exit code.
    """


def take() -> None:
    """From now on Ctrl-C raises Interrupted; nothing where the process was started deaf to it, as by nohup."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def give_back() -> None:
    """From now on Ctrl-C ends the process at once and without a word: for the end, when nothing is left to clean up."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Inside, SIGINT, SIGTERM and SIGHUP are noted and no more, so that nothing is cut short; main thread alone.

    Yields a check to be called wherever the work may end. It raises Interrupted once a signal has come, and so does the
    way out, for one that came after the last check: the work is whole then, but what was to follow it is not wanted.
    From there on the next signal ends the process at once, since all that is to be cleaned up lies inside.
    """
    global _put_off
    noted: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        noted.append(number)

    def check() -> None:
        if noted:
            raise Interrupted

    # SIGINT is the first to be held back and the last to be let go: it raises, which must not come half-way.
    before = {}
    for number in _ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, note)
    _put_off = 0  # One that is still put off is noted in here.
    try:
        yield check
    finally:
        for number in reversed(before):
            signal.signal(number, signal.SIG_DFL if noted else before[number])
    check()


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _put_off
    if frame is not None and frame.f_code.co_name in _BRIEF and _put_off < _MOST_MOMENTS:
        _put_off += 1
        # Not a threading.Thread, which takes locks itself.
        _thread.start_new_thread(_again, (_thread.get_ident(), number))
        return
    _put_off = 0
    raise Interrupted


def _again(main_thread: int, number: int) -> None:
    """To the main thread, which may wait in the kernel: only a signal of its own is sure to end that."""
    time.sleep(_MOMENT)
    signal.pthread_kill(main_thread, number)
