"""The JSON of the HTTP API, for the gateway that writes it and for clients that read it.

Boxes are x1, y1, x2, y2 in pixels of the upright image; spans are start and end in characters of the result's text;
times are UTC; URLs are paths on the gateway.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.states import Outcome, Stage, State
from shared.tasks import Task

Box = tuple[float, float, float, float]
ImageId = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="sha256 of the image's bytes, in lower-case hex")]


class _Request(BaseModel):
    """A misspelt field is an error: silently left aside it would change what is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Response(BaseModel):
    """Fields that a newer gateway adds are left aside by an older client."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class JobFields(_Request):
    """What is asked of an image."""

    task: Task
    prompt: str | None = Field(None, description="refseg: the referring expression; else the task's own when left out")
    boxes: list[Box] = Field([], description="region_caption: the one region to describe")


class JobRequest(JobFields):
    """A job on an image that is stored already."""

    image_id: ImageId


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
    cached: bool = Field(description="the image's features were there already")
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


class Result(_Response):
    text: str
    phrases: list[Phrase]
    overlay_url: str
    model: str = Field(description="fingerprint of the weights")


class Links(_Response):
    self: str
    image: str
    overlay: str | None = Field(description="once the job has succeeded")


class Job(_Response):
    """`queue_position` is 1 for the next one to start and null from then on; `progress` runs from 0 to 1."""

    id: UUID
    task: Task
    state: State
    prompt: str | None
    boxes: list[Box]
    image: Image
    created_at: datetime
    finished_at: datetime | None
    queue_position: int | None
    progress: float
    stages: list[StageRun]
    error: Failure | None
    result: Result | None
    links: Links


class Health(_Response):
    """`checks`: the servers that the gateway leans on; empty when only the process itself was asked."""

    status: str
    checks: dict[str, str] = {}
