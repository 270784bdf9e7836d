"""Threads that do what one thread gives them, and end with the command even while something hangs."""

import itertools
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
_Work = Callable[[], T]


class Crew(Generic[T]):
    """So many daemon threads at most: a pool's own would be waited for when Python ends.

    `do` and `next` are for one thread. Leaving the block lets go of what has not begun.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.busy_with = 0
        """Pieces of work whose end nobody has taken yet."""
        self._ahead: queue.PriorityQueue[tuple[int, int, _Work[T] | None]] = queue.PriorityQueue()
        self._ends: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in range(self._started):
            self._ahead.put((-1, next(self._numbers), None))

    def do(self, work: _Work[T], urgent: bool = False) -> None:
        """Urgent work comes before all that is not."""
        self.busy_with += 1
        self._ahead.put((0 if urgent else 1, next(self._numbers), work))
        if self._started < self.size:
            self._started += 1
            threading.Thread(target=self._work, daemon=True, name=f"crew-{self._started}").start()

    @property
    def has_news(self) -> bool:
        """Whether `next` would not have to wait."""
        return not self._ends.empty()

    def next(self) -> T:
        """What the next piece of work to end has given; raises what it raised."""
        end = self._ends.get()
        self.busy_with -= 1
        if isinstance(end, BaseException):
            raise end
        return end

    def _work(self) -> None:
        while True:
            _, _, work = self._ahead.get()
            if work is None:
                return
            try:
                self._ends.put(work())
            except BaseException as error:  # handed to the thread that asks for the end
                self._ends.put(error)
