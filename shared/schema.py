"""The JSON of the HTTP API, for the gateway that writes it and for clients that read it.

Boxes are x1, y1, x2, y2 in pixels of the upright image; spans are start and end in characters of the result's text;
times are UTC; URLs are paths on the gateway.
"""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from shared.exports import Format
from shared.priority import Priority
from shared.scopes import Scope
from shared.states import ExportState, Outcome, Stage, State
from shared.tasks import Ask, Box, Task
from shared.webhooks.events import DeliveryState, DisabledBecause, EventType

ImageId = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="sha256 of the image's bytes, in lower-case hex")]


class _Request(BaseModel):
    """A misspelt field is an error: silently left aside it would change what is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Response(BaseModel):
    """Fields that a newer gateway adds are left aside by an older client."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Gcg(_Request):
    task: Literal[Task.GCG]
    prompt: str | None = Field(None, description="an instruction of your own; the paper's when left out")


class _Caption(_Request):
    task: Literal[Task.CAPTION]
    prompt: str | None = Field(None, description="an instruction of your own; the paper's when left out")


class _Refseg(_Request):
    task: Literal[Task.REFSEG]
    expressions: list[str] = Field(description="what to segment, such as 'the dog on the left'")


class _RegionCaption(_Request):
    task: Literal[Task.REGION_CAPTION]
    boxes: list[Box] = Field(description="the regions to describe")
    prompt: str | None = Field(None, description="an instruction of your own; the paper's when left out")


class _Vqa(_Request):
    task: Literal[Task.VQA]
    question: str = Field(description="<box1>, <box2> … in it name the boxes; boxes not named follow at its end")
    boxes: list[Box] = Field([], description="what the question is about")


class _Ground(_Request):
    task: Literal[Task.GROUND]
    caption: str
    phrases: list[str] = Field([], description="words of the caption, in its order; the model chooses when left out")


class Terms(_Request):
    """How a job is to be worked off, whatever it asks."""

    expires_in: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="seconds in which the job has to be finished, or it fails; the service's own time when left out",
    )
    priority: Priority = Field(Priority.INTERACTIVE, description="bulk jobs let every interactive one pass")


class GcgRequest(_Gcg, Terms):
    """Grounded conversation generation: a caption whose phrases carry masks."""


class CaptionRequest(_Caption, Terms):
    """A caption without masks."""


class RefsegRequest(_Refseg, Terms):
    """Referring expression segmentation: one answer, with one mask at most, for each expression."""


class RegionCaptionRequest(_RegionCaption, Terms):
    """One description for each box."""


class VqaRequest(_Vqa, Terms):
    """A free question, maybe about boxes. The answer carries masks where the model grounds it."""


class GroundRequest(_Ground, Terms):
    """Phrase grounding: the caption comes back, its phrases tied to masks."""


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


CustomId = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^\x00]*$")]
S3Uri = Annotated[str, Field(max_length=1200, pattern=r"^s3://[a-z0-9][a-z0-9.-]+/[^\x00]+$")]


class OnAnyImage(_Request):
    """One of the two says which image."""

    custom_id: CustomId | None = Field(None, description="your own name for the job; no two of a batch are alike")
    image_id: ImageId | None = Field(None, description="of a stored image")
    s3_uri: S3Uri | None = Field(None, description="s3://BUCKET/KEY in a bucket that the service may read")

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        if (self.image_id is None) == (self.s3_uri is None):
            raise ValueError("exactly one of image_id and s3_uri says which image")
        return self


class GcgLine(GcgRequest, OnAnyImage):
    pass


class CaptionLine(CaptionRequest, OnAnyImage):
    pass


class RefsegLine(RefsegRequest, OnAnyImage):
    pass


class RegionCaptionLine(RegionCaptionRequest, OnAnyImage):
    pass


class VqaLine(VqaRequest, OnAnyImage):
    pass


class GroundLine(GroundRequest, OnAnyImage):
    pass


ManifestLine = Annotated[
    GcgLine | CaptionLine | RefsegLine | RegionCaptionLine | VqaLine | GroundLine, Field(discriminator="task")
]
"""A line of a batch's manifest: a job, on an image that is stored or that lies in a bucket."""


class BatchOptions(_Request):
    """What holds for a batch as a whole."""

    name: str = Field("", max_length=200, pattern=r"^[^\x00]*$", description="for people to tell it by")
    priority: Priority = Field(Priority.BULK, description="interactive jobs, of whomever, go before bulk ones")
    on_invalid: Literal["reject", "skip"] = Field(
        "reject", description="whether a line that is wrong keeps the whole batch out, or is left out and reported"
    )
    expires_in: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="seconds that its jobs may take; the service's limit when left out"
    )


class S3Prefix(_Request):
    """Every PNG, JPEG and WebP file, by its name's ending, below a prefix."""

    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]+$", max_length=63)
    prefix: str = Field("", max_length=1024, pattern=r"^[^\x00]*$")


class BatchRequest(BatchOptions):
    """The same job on many images: on those of a list, or on all below a prefix of a bucket."""

    job: AskRequest
    image_ids: list[ImageId] | None = Field(None, min_length=1, description="of stored images")
    s3: S3Prefix | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.image_ids is None) == (self.s3 is None):
            raise ValueError("exactly one of image_ids and s3 says which images")
        return self


class GcgAsked(_Gcg, extra="ignore"):
    pass


class CaptionAsked(_Caption, extra="ignore"):
    pass


class RefsegAsked(_Refseg, extra="ignore"):
    pass


class RegionCaptionAsked(_RegionCaption, extra="ignore"):
    pass


class VqaAsked(_Vqa, extra="ignore"):
    pass


class GroundAsked(_Ground, extra="ignore"):
    pass


Asked = Annotated[
    GcgAsked | CaptionAsked | RefsegAsked | RegionCaptionAsked | VqaAsked | GroundAsked, Field(discriminator="task")
]
"""A request as an answer repeats it: what a newer gateway adds to it is left aside, as in the rest of an answer."""


class ConversationRequest(_Request):
    image_id: ImageId


class Upload(_Request):
    """An image that a client will put into the object store by itself."""

    sha256: ImageId
    bytes: int = Field(gt=0, le=2**63 - 1)
    media_type: Literal["image/png", "image/jpeg", "image/webp"]


class UploadsRequest(_Request):
    images: list[Upload] = Field(min_length=1, max_length=1000)


def to_ask(request: AskRequest | Asked) -> Ask:
    """What the request asks, as the service keeps it; its image and its terms are left aside."""
    boxes = tuple(request.boxes) if isinstance(request, _RegionCaption | _Vqa) else ()
    match request:
        case _Refseg():
            return Ask(request.task, expressions=tuple(request.expressions))
        case _Vqa():
            return Ask(request.task, request.question, boxes)
        case _Ground():
            return Ask(request.task, request.caption, phrases=tuple(request.phrases))
        case _:
            return Ask(request.task, request.prompt, boxes)


def from_ask(ask: Ask) -> Asked:
    """The counterpart of `to_ask`; its JSON is a request as well, on the terms that stand where none are named."""
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


class LineProblem(_Response):
    line: int
    field: str | None
    detail: str
    remedy: str | None


class Problem(_Response):
    """RFC 9457: what went wrong, which input is at fault and what to do about it."""

    type: str = Field(description="stable, for programs to compare")
    title: str
    status: int
    detail: str
    field: str | None = None
    remedy: str | None = None
    lines: list[LineProblem] = Field([], description="of a manifest: the first that are wrong")


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


class SignedRequest(_Response):
    """A request that the object store takes without a key, until it expires."""

    method: str
    url: str
    headers: dict[str, str] = Field(description="to be sent exactly so; HTTP clients set Content-Length by themselves")
    expires_at: datetime


class ExpectedUpload(_Response):
    """`id` is the image's, to be used once it is uploaded; at once where it is stored."""

    id: str
    stored: bool = Field(description="the image is there already: nothing is to be uploaded")
    upload: SignedRequest | None = Field(
        description="what to send, with the image as its body; null where it is stored"
    )


class Uploads(_Response):
    images: list[ExpectedUpload] = Field(description="in the order in which they were asked for")


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
    image: str | None = Field(description="once it is taken in")
    overlay: str | None = Field(description="once the job has succeeded")
    conversation: str | None = Field(description="whose turn the job is, if any")
    batch: str | None = Field(None, description="which it belongs to, if any")


class Job(_Response):
    """`queue_position` is 1 for the next one to start and null from then on; `progress` runs from 0 to 1."""

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
    queue_position: int | None
    progress: float
    stages: list[StageRun]
    error: Failure | None
    result: Result | None
    links: Links


class BatchProblem(_Response):
    """Jobs of a batch that failed alike; `detail` and `line` are those of the first."""

    type: str
    title: str
    jobs: int
    line: int
    detail: str


class BatchLinks(_Response):
    self: str
    jobs: str
    results: str
    errors: str
    export: str


class Batch(_Response):
    """`state` is `finished` once no job of it is left to do; `rate` is jobs a second, over the last minute."""

    id: UUID
    name: str
    state: Literal["running", "paused", "canceled", "finished"]
    priority: Priority
    created_at: datetime
    expires_at: datetime
    finished_at: datetime | None
    jobs: int = Field(description="how many it has")
    counts: dict[State, int] = Field(description="of its jobs, by their state")
    invalid_lines: int = Field(description="of the manifest, left out")
    progress: float = Field(description="share of its jobs that have finished, 0 to 1")
    rate: float
    eta_seconds: float | None
    problems: list[BatchProblem] = Field(description="why jobs failed, the most frequent first")
    links: BatchLinks


class Batches(_Response):
    batches: list[Batch]
    next: str | None = Field(description="the `cursor` of the next page; null on the last")


class BatchJob(_Response):
    """A job as its batch lists it; the whole is at `url`."""

    id: UUID
    line: int
    custom_id: str | None
    task: Task
    state: State
    image_id: str | None
    source: str | None
    created_at: datetime
    finished_at: datetime | None
    error: Problem | None
    url: str


class BatchJobs(_Response):
    jobs: list[BatchJob]
    next: str | None = Field(description="the `cursor` of the next page; null on the last")


class JobSummary(_Response):
    """A job in a list; its stages and its result are at `links.self`."""

    id: UUID
    task: Task
    request: Asked
    state: State
    image: Image | None
    source: str | None
    custom_id: str | None
    turn: int | None
    priority: Priority
    created_at: datetime
    expires_at: datetime
    finished_at: datetime | None
    error: Failure | None
    links: Links


class JobPage(_Response):
    jobs: list[JobSummary]
    next: str | None = Field(description="the `cursor` of the next page; null on the last")


class Conversation(_Response):
    """Turns on one image, oldest first; each is a job, to be asked for at its URL."""

    id: UUID
    image: Image
    created_at: datetime
    turns: list[str]


class Export(_Response):
    """A batch's results as a file. `url` is there once it can be downloaded, and serves without an API key for a while.

    `jobs`: how many of the batch had succeeded when the file was asked for; that of a running batch may hold more.
    """

    id: UUID
    batch_id: UUID
    format: Format
    state: ExportState
    progress: float
    jobs: int
    bytes: int | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="when the file is removed")
    url: str | None
    error: Problem | None


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
    batch_id: UUID | None = Field(None, description="of the batch that a job belongs to")
    custom_id: str | None = Field(None, description="what the client calls the job within its batch")
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
