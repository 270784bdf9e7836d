"""The JSON of the HTTP API, for the gateway that writes it and for clients that read it.

Boxes are x1, y1, x2, y2 in pixels of the upright image; spans are start and end in characters of the result's text;
times are UTC; URLs are paths on the gateway.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.scopes import Scope
from shared.states import Outcome, Stage, State
from shared.tasks import Ask, Box, Task
from shared.webhooks.events import DeliveryState, DisabledBecause, EventType

ImageId = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="sha256 of the image's bytes, in lower-case hex")]


class _Request(BaseModel):
    """A misspelt field is an error: silently left aside it would change what is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Response(BaseModel):
    """Fields that a newer gateway adds are left aside by an older client."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class GcgRequest(_Request):
    """Grounded conversation generation: a caption whose phrases carry masks."""

    task: Literal[Task.GCG]
    prompt: str | None = Field(None, description="an instruction of your own; the paper's when left out")


class CaptionRequest(_Request):
    """A caption without masks."""

    task: Literal[Task.CAPTION]
    prompt: str | None = Field(None, description="an instruction of your own; the paper's when left out")


class RefsegRequest(_Request):
    """Referring expression segmentation: one answer, with one mask at most, for each expression."""

    task: Literal[Task.REFSEG]
    expressions: list[str] = Field(description="what to segment, such as 'the dog on the left'")


class RegionCaptionRequest(_Request):
    """One description for each box."""

    task: Literal[Task.REGION_CAPTION]
    boxes: list[Box] = Field(description="the regions to describe")
    prompt: str | None = Field(None, description="an instruction of your own; the paper's when left out")


class VqaRequest(_Request):
    """A free question, maybe about boxes. The answer carries masks where the model grounds it."""

    task: Literal[Task.VQA]
    question: str = Field(description="<box1>, <box2> … in it name the boxes; boxes not named follow at its end")
    boxes: list[Box] = Field([], description="what the question is about")


class GroundRequest(_Request):
    """Phrase grounding: the caption comes back, its phrases tied to masks."""

    task: Literal[Task.GROUND]
    caption: str
    phrases: list[str] = Field([], description="words of the caption, in its order; the model chooses when left out")


class OnImage(_Request):
    image_id: ImageId


class GcgJob(GcgRequest, OnImage):
    pass


class CaptionJob(CaptionRequest, OnImage):
    pass


class RefsegJob(RefsegRequest, OnImage):
    pass


class RegionCaptionJob(RegionCaptionRequest, OnImage):
    pass


class VqaJob(VqaRequest, OnImage):
    pass


class GroundJob(GroundRequest, OnImage):
    pass


AskRequest = Annotated[
    GcgRequest | CaptionRequest | RefsegRequest | RegionCaptionRequest | VqaRequest | GroundRequest,
    Field(discriminator="task"),
]
"""What is asked of an image: each task has its own fields."""

JobRequest = Annotated[
    GcgJob | CaptionJob | RefsegJob | RegionCaptionJob | VqaJob | GroundJob, Field(discriminator="task")
]
"""The same with the image that it is asked of, which is stored already."""


class GcgAsked(GcgRequest, extra="ignore"):
    pass


class CaptionAsked(CaptionRequest, extra="ignore"):
    pass


class RefsegAsked(RefsegRequest, extra="ignore"):
    pass


class RegionCaptionAsked(RegionCaptionRequest, extra="ignore"):
    pass


class VqaAsked(VqaRequest, extra="ignore"):
    pass


class GroundAsked(GroundRequest, extra="ignore"):
    pass


Asked = Annotated[
    GcgAsked | CaptionAsked | RefsegAsked | RegionCaptionAsked | VqaAsked | GroundAsked, Field(discriminator="task")
]
"""A request as an answer repeats it: what a newer gateway adds to it is left aside, as in the rest of an answer."""


class ConversationRequest(_Request):
    image_id: ImageId


def to_ask(request: AskRequest) -> Ask:
    """The request as the service keeps it; an image's id is left aside."""
    boxes = tuple(request.boxes) if isinstance(request, RegionCaptionRequest | VqaRequest) else ()
    match request:
        case RefsegRequest():
            return Ask(request.task, expressions=tuple(request.expressions))
        case VqaRequest():
            return Ask(request.task, request.question, boxes)
        case GroundRequest():
            return Ask(request.task, request.caption, phrases=tuple(request.phrases))
        case _:
            return Ask(request.task, request.prompt, boxes)


def from_ask(ask: Ask) -> Asked:
    """The counterpart of `to_ask`; its JSON is a request as well."""
    match ask.task:
        case Task.REFSEG:
            return RefsegAsked(task=ask.task, expressions=list(ask.expressions))
        case Task.VQA:
            return VqaAsked(task=ask.task, question=ask.prompt or "", boxes=list(ask.boxes))
        case Task.GROUND:
            return GroundAsked(task=ask.task, caption=ask.prompt or "", phrases=list(ask.phrases))
        case Task.REGION_CAPTION:
            return RegionCaptionAsked(task=ask.task, boxes=list(ask.boxes), prompt=ask.prompt)
        case Task.CAPTION:
            return CaptionAsked(task=ask.task, prompt=ask.prompt)
        case Task.GCG:
            return GcgAsked(task=ask.task, prompt=ask.prompt)


class KeyRequest(_Request):
    """A key for an owner. Owners exist by having keys."""

    owner: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00/]+$")
    scopes: list[Scope] = Field(
        min_length=1, max_length=len(Scope), description="read: see; write: store, submit, cancel, delete; admin: keys"
    )
    name: str = Field("", max_length=200, pattern=r"^[^\x00]*$", description="to tell it from others")
    expires_at: AwareDatetime | None = None


class OwnerLimits(_Request):
    """What an owner may take; null for what the service's settings say."""

    requests_per_minute: int | None = Field(None, gt=0, le=2**31 - 1, description="of each gateway process")
    stored_bytes: int | None = Field(None, ge=0, le=2**63 - 1, description="of all its images")
    queued_jobs: int | None = Field(None, ge=0, le=2**31 - 1, description="that wait at any time")


class Key(_Response):
    id: UUID
    owner: str
    name: str
    scopes: list[Scope]
    hint: str = Field(description="the secret's first characters")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class CreatedKey(Key):
    secret: str = Field(description="shown this once; send it as `Authorization: Bearer …`")


class Keys(_Response):
    keys: list[Key]


class Problem(_Response):
    """RFC 9457: what went wrong, which input is at fault and what to do about it."""

    type: str = Field(description="stable, for programs to compare")
    title: str
    status: int
    detail: str
    field: str | None = None
    remedy: str | None = None


class Failure(Problem):
    """Why a job failed, and where; no stage for one that never left the queue."""

    stage: Stage | None = None
    attempt: int = 0


class Image(_Response):
    id: str
    width: int
    height: int
    media_type: str


class StoredImage(Image):
    bytes: int
    created: bool = Field(description="false when the image was there already")


class StageRun(_Response):
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


class Mask(_Response):
    """COCO's compressed run lengths; size is height, width."""

    size: tuple[int, int]
    counts: str


class Phrase(_Response):
    """Words and the pixels they mean; an empty mask has no box, a mask without words no text and no span."""

    n: int
    text: str | None
    span: tuple[int, int] | None
    mask: Mask
    box: Box | None
    area: int
    score: float
    mask_url: str


class Answer(_Response):
    """One line of the result's text, at `span`, and what it is about: an expression, a box, or the whole image.

    `phrases` are the numbers of its masks: none for an expression means that the model finds no such thing.
    """

    text: str
    span: tuple[int, int]
    expression: str | None
    box: Box | None
    phrases: list[int]


class Result(_Response):
    """`text` is all answers, a line each: one for each expression or region that was asked about, one else."""

    text: str
    answers: list[Answer]
    phrases: list[Phrase]
    overlay_url: str
    model: str = Field(description="fingerprint of the weights")


class Links(_Response):
    self: str
    image: str
    overlay: str | None = Field(description="once the job has succeeded")
    conversation: str | None = Field(description="whose turn the job is, if any")


class Job(_Response):
    """`queue_position` is 1 for the next one to start and null from then on; `progress` runs from 0 to 1."""

    id: UUID
    task: Task
    request: Asked
    state: State
    image: Image
    turn: int | None = Field(description="1 for the first of its conversation, null outside of one")
    created_at: datetime
    finished_at: datetime | None
    queue_position: int | None
    progress: float
    stages: list[StageRun]
    error: Failure | None
    result: Result | None
    links: Links


class Conversation(_Response):
    """Turns on one image, oldest first; each is a job, to be asked for at its URL."""

    id: UUID
    image: Image
    created_at: datetime
    turns: list[str]


class GrowingText(_Response):
    """One of a job's answers while the model writes it: as it will be shown, without markup, as far as it goes."""

    answer: int = Field(description="which of the job's answers, from 0")
    text: str = Field(description="all of it so far, in place of what was sent of this answer before")


_WebhookEvents = Annotated[list[EventType], Field(min_length=1, max_length=len(EventType))]
_WebhookUrl = Annotated[str, Field(max_length=2083, description="http or https, without credentials")]
_WebhookDescription = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$", description="to tell it from others")]


class WebhookRequest(_Request):
    """Where to send which events."""

    url: _WebhookUrl
    events: _WebhookEvents
    description: _WebhookDescription = ""


class WebhookChange(_Request):
    """What is left out stays as it is."""

    url: _WebhookUrl | None = None
    events: _WebhookEvents | None = None
    description: _WebhookDescription | None = None
    enabled: bool | None = Field(None, description="a disabled webhook is told nothing")


class Webhook(_Response):
    """`failing_since` is null while the last delivery succeeded."""

    id: UUID
    url: str
    events: list[EventType]
    description: str
    enabled: bool
    disabled_because: DisabledBecause | None = Field(
        description="gone: it answered 410; failing: nothing reached it for days; null when a person disabled it"
    )
    created_at: datetime
    failing_since: datetime | None


class CreatedWebhook(Webhook):
    secret: str = Field(description="shown this once; what deliveries are signed with")


class Webhooks(_Response):
    webhooks: list[Webhook]
    next: str | None = Field(description="the `cursor` of the next page; null on the last")


class DeliveryAttempt(_Response):
    """`status` is null where there was no answer, and `error` says why."""

    at: datetime
    ms: float
    status: int | None
    error: str | None
    response: str = Field(description="the beginning of what the receiver said")


class EventLinks(_Response):
    self: str


class EventData(_Response):
    """What happened to which thing. `error`: why a job failed."""

    id: UUID
    state: str | None = None
    error: Failure | None = None
    links: EventLinks


class Event(_Response):
    """The body of a delivery."""

    type: str
    timestamp: datetime = Field(description="when it happened")
    data: EventData


class Delivery(_Response):
    """An event on its way to a webhook; `id` is the `webhook-id` of every attempt."""

    id: UUID
    event: str
    state: DeliveryState
    created_at: datetime
    finished_at: datetime | None
    next_at: datetime | None = Field(description="when the next attempt is due at the earliest")
    payload: Event
    attempts: list[DeliveryAttempt]


class Deliveries(_Response):
    deliveries: list[Delivery]
    next: str | None = Field(description="the `cursor` of the next page; null on the last")


class Health(_Response):
    """`checks`: the servers that the gateway leans on; empty when only the process itself was asked."""

    status: str
    checks: dict[str, str] = {}
