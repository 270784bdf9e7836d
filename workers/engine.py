"""The batching engine: one thread that owns the device and runs together whatever is waiting.

Nothing here waits on a clock to fill a batch. Items gather while a step runs and the next step takes as many as fit, so
an item that comes alone runs alone at once, and under load the batches fill themselves.
"""

import threading
import time
from collections import deque
from typing import Generic, TypeVar

import torch

from shared.line import Line
from shared.logs import get_logger
from workers.core import Core
from workers.ticket import EngineBroken, GivenBack, Ticket, TookTooLong

In = TypeVar("In")
Out = TypeVar("Out")

log = get_logger(__name__)


def urgent_places(capacity: int) -> int:
    """How many places to keep for urgent items beside `capacity` places for all."""
    return max(1, capacity // 8)


class Engine(Generic[In, Out]):
    """Runs a core on a thread of its own, never more than `capacity` items at a time.

    Urgent items are admitted before all others that wait. reserve: places beyond the capacity that are theirs alone,
    for a core whose items stay for many steps: while others have all of the capacity, an urgent one need not wait for
    one of them to end.
    """

    def __init__(self, core: Core[In, Out], capacity: int, name: str, reserve: int = 0) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.name = name
        self._core = core
        self._limit = capacity
        self._reserve = reserve
        self._changed = threading.Condition()
        self._waiting: Line[tuple[Ticket[Out], In]] = Line()
        self._suspects: deque[list[tuple[Ticket[Out], In]]] = deque()
        self._live: dict[int, tuple[Ticket[Out], In]] = {}
        self._next_key = 0
        self._steps = 0
        self._step_began: float | None = None
        self._closing = False
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether any item waits or runs."""
        with self._changed:
            return bool(self._waiting or self._suspects or self._live)

    @property
    def broken(self) -> BaseException | None:
        """What ended the engine before its time; the process should end too, and start afresh."""
        return self._broken

    def stalled_for(self) -> float:
        """Seconds since the step under way began; 0 between steps."""
        began = self._step_began
        return 0.0 if began is None else time.monotonic() - began

    def submit(self, item: In, limit: float | None = None, urgent: bool = False) -> Ticket[Out]:
        """Hand in an item. `limit`: seconds that it may run once it is admitted, looked at between steps.

        The ticket raises what the core raised for this item, or `TookTooLong`, `GivenBack`, `EngineBroken`, or
        `CancelledError`.
        """
        with self._changed:
            ticket: Ticket[Out] = Ticket(limit, urgent, self._steps)
            if self._closing:
                ticket.settle(GivenBack())
            else:
                self._waiting.join((ticket, item), urgent)
                self._changed.notify()
        return ticket

    def drain(self, seconds: float) -> None:
        """Close: give back what has not begun, let the rest finish for `seconds`, then give that back too."""
        self._close(GivenBack())
        self._thread.join(seconds)
        for ticket, _ in list(self._live.values()):
            ticket.settle(GivenBack())

    def abandon(self, reason: str) -> None:
        """Close although a step hangs: what runs ends as `EngineBroken`, what waits is given back."""
        self._break(EngineBroken(reason))

    def _run(self) -> None:
        try:
            while self._gather():
                self._step_began = time.monotonic()
                self._step()
                self._step_began = None
        except BaseException as error:
            self._break(error)
            log.exception("engine.broken", engine=self.name)

    def _gather(self) -> bool:
        """Wait for work and admit it. False once the engine is closed and has none left."""
        with self._changed:
            self._sift()
            while not (self._live or self._suspects or self._waiting):
                if self._closing:
                    return False
                self._changed.wait()
                self._sift()
            entering = self._next_group()
        self._step_began = time.monotonic()
        for ticket, item in entering:
            self._admit(ticket, item)
        return True

    def _sift(self) -> None:
        """Let go of items that ended on their own: cancelled, given back, or over their deadline."""
        now = time.monotonic()
        for ticket, _ in self._live.values():
            if ticket.deadline is not None and ticket.deadline < now:
                ticket.settle(TookTooLong())
        for key in [key for key, (ticket, _) in self._live.items() if ticket.done()]:
            del self._live[key]
            self._core.drop(key)
        if any(ticket.done() for ticket, _ in self._waiting):
            self._waiting.remove(lambda entry: entry[0].done())

    def _next_group(self) -> list[tuple[Ticket[Out], In]]:
        if self._suspects:
            # A suspected group runs by itself, so that nobody else can share its fate.
            return [] if self._live else self._suspects.popleft()
        return self._waiting.take(self._limit - len(self._live), self._reserve)

    def _admit(self, ticket: Ticket[Out], item: In) -> None:
        key, self._next_key = self._next_key, self._next_key + 1
        ticket.admitted_at = time.monotonic()
        ticket.waited_steps = self._steps - ticket.steps
        self._live[key] = (ticket, item)
        try:
            self._core.admit(key, item, ticket.urgent)
        except Exception as error:
            self._live.pop(key)
            self._core.drop(key)
            self._judge([(ticket, item)], error)

    def _step(self) -> None:
        if not self._live:
            return
        try:
            finished = self._core.step()
        except Exception as error:
            group = list(self._live.values())
            for key in list(self._live):
                self._core.drop(key)
            self._live.clear()
            self._judge(group, error)
            return
        finally:
            self._steps += 1
        for key, outcome in finished:
            ticket, _ = self._live.pop(key)
            ticket.settle(outcome)

    def _judge(self, group: list[tuple[Ticket[Out], In]], error: Exception) -> None:
        """A group failed together. Alone, the error is the item's own; else each half runs again by itself."""
        if isinstance(error, torch.AcceleratorError):
            for ticket, _ in group:
                ticket.settle(EngineBroken(str(error)))
            raise error
        if isinstance(error, torch.OutOfMemoryError) and self._shrink(len(group)):
            self._try_again(group)
            return
        if len(group) == 1:
            group[0][0].settle(error)
            return
        log.warning("engine.splitting", engine=self.name, items=len(group), error=repr(error))
        middle = len(group) // 2
        self._try_again(group[:middle], group[middle:])

    def _try_again(self, *groups: list[tuple[Ticket[Out], In]]) -> None:
        """Each by itself, and before anything that waits."""
        with self._changed:
            if self._closing:
                for ticket, _ in (entry for group in groups for entry in group):
                    ticket.settle(GivenBack())
            else:
                self._suspects.extendleft(reversed(groups))

    def _shrink(self, items: int) -> bool:
        """The device had no memory for so much at once: never try as much again. Whether the same items may fit now."""
        torch.cuda.empty_cache()
        shrunk = self._core.shrink()
        if not shrunk and items > 1:
            fits = items // 2
            self._reserve = min(self._reserve, fits - 1)
            self._limit = min(self._limit, fits - self._reserve)
        log.warning("engine.out_of_memory", engine=self.name, items=items, limit=self._limit)
        return shrunk

    def _close(self, reason: Exception) -> None:
        with self._changed:
            self._closing = True
            for ticket, _ in (*self._waiting, *(entry for group in self._suspects for entry in group)):
                ticket.settle(reason)
            self._waiting.clear()
            self._suspects.clear()
            self._changed.notify()

    def _break(self, error: BaseException) -> None:
        self._broken = error
        self._close(GivenBack())
        for ticket, _ in list(self._live.values()):
            ticket.settle(EngineBroken(str(error)))
