"""The states a job passes through and the stages that do its work."""

from enum import IntEnum, StrEnum


class State(StrEnum):
    QUEUED = "queued"
    VISION = "vision"
    LLM = "llm"
    PIXEL = "pixel"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def in_flight(self) -> bool:
        """Admitted and not finished: the job counts against the admission window."""
        return self in IN_FLIGHT

    @property
    def finished(self) -> bool:
        """Final: no event changes the job any more."""
        return self in FINISHED


class Stage(StrEnum):
    VISION = "vision"
    LLM = "llm"
    PIXEL = "pixel"

    @property
    def state(self) -> State:
        """The state of a job that waits for this stage or runs in it."""
        return State(self.value)


IN_FLIGHT = (State.VISION, State.LLM, State.PIXEL)
FINISHED = (State.SUCCEEDED, State.FAILED, State.CANCELED)


class Outcome(StrEnum):
    """How one start of a stage ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    GIVEN_BACK = "given_back"
    FAILED = "failed"
    REWOUND = "rewound"
    LOST = "lost"
    CANCELED = "canceled"


class Priority(IntEnum):
    """Of a job or batch. What people wait for goes before what they come back for."""

    BULK = 0
    INTERACTIVE = 10


def is_urgent(priority: int) -> bool:
    """Whether a job of this priority goes before all that are not urgent, wherever jobs wait."""
    return priority >= Priority.INTERACTIVE
