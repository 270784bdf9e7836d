"""Jobs with their history and result, in lists, and as turns of a conversation."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from shared.priority import Priority
from shared.schema.asks import Asked
from shared.schema.base import ImageId, Request, Response
from shared.schema.images import Image
from shared.schema.problems import Failure, Problem
from shared.states import Outcome, Stage, State
from shared.tasks import Box, Task


class StageRun(Response):
    """One start of a stage. Steps are timed once it completed; `waited_ms` is the time before it started."""

    stage: Stage
    attempt: int
    worker: str
    started_at: datetime
    finished_at: datetime | None
    outcome: Outcome
    cached: bool = Field(description="the image's own features were there already: its encoders did not run")
    waited_ms: float
    fetch_ms: float | None
    engine_wait_ms: float | None
    engine_ms: float | None
    store_ms: float | None
    total_ms: float | None
    error: Problem | None = None


class Mask(Response):
    """COCO's compressed run lengths; size is height, width."""

    size: tuple[int, int]
    counts: str


class Phrase(Response):
    """Words and the pixels they mean; an empty mask has no box, a mask without words no text and no span."""

    n: int
    text: str | None
    span: tuple[int, int] | None
    mask: Mask
    box: Box | None
    area: int
    score: float
    mask_url: str


class Answer(Response):
    """One line of the result's text, at `span`, and what it is about: an expression, a box, or the whole image.

    `phrases` are the numbers of its masks: none for an expression means that the model finds no such thing.
    """

    text: str
    span: tuple[int, int]
    expression: str | None
    box: Box | None
    phrases: list[int]


class Result(Response):
    """`text` is all answers, a line each: one for each expression or region that was asked about, one else."""

    text: str
    answers: list[Answer]
    phrases: list[Phrase]
    overlay_url: str
    model: str = Field(description="fingerprint of the weights")


class Links(Response):
    self: str
    image: str | None = Field(description="once it is taken in")
    overlay: str | None = Field(description="once the job has succeeded")
    conversation: str | None = Field(description="whose turn the job is, if any")
    batch: str | None = Field(None, description="which it belongs to, if any")


class JobSummary(Response):
    """A job in a list; its stages and its result are at `links.self`."""

    id: UUID
    task: Task
    request: Asked
    state: State
    image: Image | None = Field(description="null until a batch's image is taken in from where it lies")
    source: str | None = Field(None, description="where it is, or was, taken in from")
    custom_id: str | None = Field(None, description="what the client calls the job within its batch")
    turn: int | None = Field(description="1 for the first of its conversation, null outside of one")
    priority: Priority
    created_at: datetime
    expires_at: datetime = Field(description="when it fails, unless it is finished by then")
    finished_at: datetime | None
    error: Failure | None
    links: Links


class Job(JobSummary):
    """`queue_position` is 1 for the next one to start and null from then on; `progress` runs from 0 to 1."""

    queue_position: int | None
    progress: float
    stages: list[StageRun]
    result: Result | None


class JobPage(Response):
    jobs: list[JobSummary]
    next: str | None = Field(description="the `cursor` of the next page; null on the last")


class GrowingText(Response):
    """One of a job's answers while the model writes it: as it will be shown, without markup, as far as it goes."""

    answer: int = Field(description="which of the job's answers, from 0")
    text: str = Field(description="all of it so far, in place of what was sent of this answer before")


class ConversationRequest(Request):
    image_id: ImageId


class ConversationLinks(Response):
    self: str
    turns: str = Field(description="all of them, page by page")


class Conversation(Response):
    """Turns on one image; each is a job, to be asked for at its URL."""

    id: UUID
    image: Image
    created_at: datetime
    turns: list[str] = Field(description="URLs of the last 200, oldest first; `links.turns` has all of them")
    links: ConversationLinks
