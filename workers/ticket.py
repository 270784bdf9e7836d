"""What whoever hands an item to the engine holds meanwhile, and the ways in which the engine may end it."""

# ruff: noqa: N818 -- the names say what happened

import time
from concurrent.futures import Future, InvalidStateError
from typing import TypeVar

from shared.logs import get_logger

Out = TypeVar("Out")

log = get_logger(__name__)


class EngineError(Exception):
    """An item ended for a reason that lies with the engine, not with the item."""


class GivenBack(EngineError):
    """The engine is closing: the item did not finish here and may run elsewhere."""


class TookTooLong(EngineError):
    """The item was not finished by its deadline."""


class EngineBroken(EngineError):
    """The device failed or hung under the item; nothing runs on it again in this process."""


class Ticket(Future[Out]):
    """The future output of one item. `cancel` takes the item out before the engine's next step, however far it is.

    limit: seconds that the item may run; what it waits for others before that is no fault of its own.
    steps: how many the engine had taken when the item came; waited_steps: how many more before it was admitted.
    """

    def __init__(self, limit: float | None, urgent: bool, steps: int) -> None:
        super().__init__()
        self.limit = limit
        self.urgent = urgent
        self.steps = steps
        self.waited_steps = 0
        self.submitted_at = time.monotonic()
        self.admitted_at: float | None = None
        self.finished_at: float | None = None

    @property
    def deadline(self) -> float | None:
        """Of `time.monotonic`; None until it runs, and without a limit."""
        return None if self.limit is None or self.admitted_at is None else self.admitted_at + self.limit

    @property
    def waited_ms(self) -> float:
        """Time from submission to admission."""
        return 0.0 if self.admitted_at is None else (self.admitted_at - self.submitted_at) * 1000

    @property
    def ran_ms(self) -> float:
        """Time from admission to the end."""
        if self.admitted_at is None or self.finished_at is None:
            return 0.0
        return (self.finished_at - self.admitted_at) * 1000

    def settle(self, outcome: Out | Exception) -> None:
        """Give the ticket its end, unless it has one: the first of output, deadline, cancellation and drain counts."""
        self.finished_at = time.monotonic()
        try:
            if isinstance(outcome, Exception):
                self.set_exception(outcome)
            else:
                self.set_result(outcome)
        except InvalidStateError:
            log.debug("engine.late_outcome")
