"""What goes into the state machine and what comes out of it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate
from uuid import UUID

from shared.errors import Problem
from shared.masks import Rle
from shared.priority import Priority
from shared.states import Outcome, Stage, State
from shared.tables import LOCAL_OWNER
from shared.tasks import Ask, Box, Task


@dataclass(frozen=True)
class Message:
    """What Celery carries: start this stage of this job, started `attempt` times so far.

    urgent: it has a queue of its own, which the others never hold up.
    """

    job_id: UUID
    stage: Stage
    attempt: int
    urgent: bool


@dataclass(frozen=True)
class NewJob:
    """A validated request; `ttl` is how long it may take from now until it is finished.

    most_queued: how many jobs of the owner may wait, this one included; None for any number. id: chosen by whoever may
    submit it more than once; None for a new one.
    """

    image_id: str
    ask: Ask
    priority: int = Priority.INTERACTIVE.rank
    ttl: timedelta = timedelta(days=7)
    owner_id: UUID = LOCAL_OWNER
    most_queued: int | None = None
    id: UUID | None = None


@dataclass(frozen=True)
class Generation:
    """One answer of the llm stage: its raw text, and one prompt vector a [SEG] in it.

    `prompt_vectors` holds vector_count × vector_dim float32, little endian, row after row.
    """

    text: str
    token_ids: tuple[int, ...]
    prompt_vectors: bytes
    vector_count: int
    vector_dim: int


@dataclass(frozen=True)
class Phrase:
    """A mask at the image's size, and the words it belongs to: `span` is (start, end) in its answer's text.

    A mask that belongs to no words of the answer has no span, and no text unless it is what was asked for; an empty
    mask has no box.
    """

    text: str | None
    span: tuple[int, int] | None
    rle: Rle
    box: Box | None
    area: int
    score: float


@dataclass(frozen=True)
class Answer:
    """One of a job's answers: an expression's or a region's where several were asked about. raw_text: with markup."""

    text: str
    raw_text: str
    phrases: tuple[Phrase, ...] = ()


@dataclass(frozen=True)
class Result:
    """What a job has come to; `fingerprint` names the weights that made it."""

    answers: tuple[Answer, ...]
    fingerprint: str

    @property
    def text(self) -> str:
        """All answers, a line each."""
        return "\n".join(answer.text for answer in self.answers)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Where each answer stands in `text`."""
        ends = list(accumulate(len(answer.text) + 1 for answer in self.answers))
        return tuple((end - 1 - len(answer.text), end - 1) for end, answer in zip(ends, self.answers, strict=True))

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """Those of all answers, in order, with spans in `text`."""
        return tuple(
            replace(phrase, span=phrase.span and (start + phrase.span[0], start + phrase.span[1]))
            for (start, _), answer in zip(self.spans, self.answers, strict=True)
            for phrase in answer.phrases
        )


@dataclass(frozen=True)
class PastTurn:
    """An earlier turn of a conversation, as a later one sees it. answers: raw texts."""

    ask: Ask
    answers: tuple[str, ...]


@dataclass(frozen=True)
class RunImage:
    """The image that a run is about. width, height: pixels of the upright picture."""

    id: str
    object_key: str
    width: int
    height: int


@dataclass(frozen=True)
class Run:
    """One start of a stage by one worker: all it needs to do the work, and the token that fences its writes.

    `attempt` is 1 for the first start. `generations` are there for the pixel stage; `history`, the turns before this
    one that succeeded, for vision and llm. `in_conversation` says that more turns on the image may follow.

    `image` is None for a run of vision that has still to take it in from `source`.
    """

    job_id: UUID
    owner_id: UUID
    image: RunImage | None
    source: str | None
    ask: Ask
    in_conversation: bool
    history: tuple[PastTurn, ...]
    generations: tuple[Generation, ...]
    stage: Stage
    attempt: int
    urgent: bool
    token: UUID
    worker: str

    @property
    def stored(self) -> RunImage:
        """The image of a run that has one, as every run has once vision has begun."""
        assert self.image is not None, "vision takes the image in before anything is asked of it"
        return self.image


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a run's steps; `cached` when the image's own features were there already.

    engine_wait_steps: how many steps the engine took for others while this run waited.
    """

    fetch_ms: float = 0.0
    engine_wait_ms: float = 0.0
    engine_ms: float = 0.0
    store_ms: float = 0.0
    cached: bool = False
    engine_wait_steps: int = 0


@dataclass(frozen=True)
class Swept:
    """What a sweep found: messages to send again, and jobs that it failed."""

    resend: list[Message]
    failed: list[UUID]


@dataclass(frozen=True)
class Failure:
    """Why a job failed, and where: no stage for a job that never left the queue."""

    problem: Problem
    stage: Stage | None
    attempt: int


@dataclass(frozen=True)
class StageRun:
    """One start of a stage, as history. `timing` is there once it completed."""

    stage: Stage
    attempt: int
    rewind: int
    worker: str
    ready_at: datetime
    message_sent_at: datetime
    started_at: datetime
    finished_at: datetime | None
    outcome: Outcome
    timing: Timing | None
    error: Problem | None

    @property
    def cached(self) -> bool:
        return self.timing is not None and self.timing.cached

    @property
    def waited_ms(self) -> float:
        """From the moment the stage could start to the moment it did."""
        return (self.started_at - self.ready_at) / timedelta(milliseconds=1)

    @property
    def total_ms(self) -> float | None:
        """From start to end; None while it runs."""
        return None if self.finished_at is None else (self.finished_at - self.started_at) / timedelta(milliseconds=1)


@dataclass(frozen=True)
class ImageView:
    """deleted: its bytes are gone."""

    id: str
    object_key: str
    media_type: str
    width: int
    height: int
    deleted: bool


@dataclass(frozen=True)
class JobEntry:
    """A job in a list: what its row alone tells. `image` is None until it is taken in from `source`."""

    id: UUID
    ask: Ask
    state: State
    conversation_id: UUID | None
    turn: int | None
    batch_id: UUID | None
    custom_id: str | None
    priority: int
    image: ImageView | None
    source: str | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime
    error: Failure | None


@dataclass(frozen=True)
class JobView(JobEntry):
    """Everything a client may know of a job.

    `queue_position` is 1 for the next of its queue to be admitted, 10,000 for that and all behind it, and None once
    admitted; a batch is a queue, and so are all the jobs that an owner submitted one by one. `progress` is the share of
    the stages that have completed, 0 to 1.
    `version` is another whenever any of it is.
    """

    queue_position: int | None
    progress: float
    stages: tuple[StageRun, ...]
    result: Result | None
    version: str


@dataclass(frozen=True)
class JobFilter:
    """Which of an owner's jobs to list: in any of these states, of this task, image and batch; None for all."""

    states: tuple[State, ...] | None = None
    task: Task | None = None
    image_id: str | None = None
    batch_id: UUID | None = None


@dataclass(frozen=True)
class ConversationView:
    """A conversation on one image; `turns` are the last 200 of its jobs, oldest first."""

    id: UUID
    image: ImageView
    created_at: datetime
    turns: tuple[UUID, ...]
