"""What goes into a batch and what is known of it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from uuid import UUID

from shared.errors import Problem
from shared.states import FINISHED, BatchState, State
from shared.tasks import Ask, Task


class Origin(Enum):
    """What named a batch's jobs, and so in which words it is told what is wrong with them."""

    MANIFEST = auto()
    IMAGE_IDS = auto()
    PREFIX = auto()


@dataclass(frozen=True)
class NewBatch:
    """ttl: how long its jobs may take from now until they are finished.

    skip: leave lines out that are wrong; else one such line keeps everything from being stored. most_queued: how many
    jobs of the owner may wait, these included; None for any number. id: one that was reserved for it, if any.
    request_digest: by which a repetition of the request is known that would make it under the same id.
    """

    owner_id: UUID
    name: str
    priority: int
    ttl: timedelta
    skip: bool = False
    most_queued: int | None = None
    id: UUID | None = None
    request_digest: bytes | None = None
    origin: Origin = Origin.MANIFEST


@dataclass(frozen=True)
class Line:
    """A job of a manifest: on a stored image, or on one that is to be taken in from `source`. number: from 1."""

    number: int
    custom_id: str | None
    image_id: str | None
    source: str | None
    ask: Ask


@dataclass(frozen=True)
class LineFault:
    """A line that becomes no job."""

    number: int
    custom_id: str | None
    problem: Problem


@dataclass(frozen=True)
class ProblemCount:
    """Jobs that failed with one type of problem. title, detail: of the first of them, by line."""

    type: str
    title: str
    jobs: int
    line: int
    detail: str


@dataclass(frozen=True)
class BatchView:
    """counts: jobs by state. invalid_lines: left out of the manifest. rate: jobs a second, lately."""

    id: UUID
    name: str
    priority: int
    state: BatchState
    created_at: datetime
    expires_at: datetime
    finished_at: datetime | None
    jobs: int
    counts: dict[State, int]
    invalid_lines: int
    rate: float
    problems: tuple[ProblemCount, ...] = field(default=())

    @property
    def finished(self) -> int:
        return sum(self.counts[state] for state in FINISHED)

    @property
    def unfinished(self) -> int:
        return self.jobs - self.finished

    @property
    def eta_seconds(self) -> float | None:
        """None while nothing has finished lately or the batch is paused or cancelled, and when nothing is left."""
        if not self.unfinished or not self.rate or self.state is not BatchState.RUNNING:
            return None
        return self.unfinished / self.rate


@dataclass(frozen=True)
class RowFilter:
    """Which of a batch's jobs to list: in any of these states, of this task and name, failed with this type of problem.

    None for all.
    """

    states: tuple[State, ...] | None = None
    task: Task | None = None
    custom_id: str | None = None
    error_type: str | None = None


@dataclass(frozen=True)
class JobRow:
    """A job as its batch lists it."""

    id: UUID
    line: int
    custom_id: str | None
    task: str
    state: State
    image_id: str | None
    source: str | None
    created_at: datetime
    finished_at: datetime | None
    error: Problem | None
