"""Batches, the lines of their manifests, and their exports."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from shared.exports import Format
from shared.priority import Priority
from shared.schema.asks import (
    Asking,
    CaptionAsk,
    GcgAsk,
    GroundAsk,
    RefsegAsk,
    RegionCaptionAsk,
    VqaAsk,
)
from shared.schema.base import ImageId, Request, Response
from shared.schema.problems import Problem
from shared.sources import split
from shared.states import ExportState, State
from shared.tasks import Task

_MOST_BYTES = 1024
"""What S3 takes as a key; an index takes a little more as an entry."""


def _short(value: str) -> str:
    if len(value.encode()) > _MOST_BYTES:
        raise PydanticCustomError(
            "too_many_bytes", "it has more than {most} bytes in UTF-8", {"most": f"{_MOST_BYTES:,}"}
        )
    return value


def _of_short_key(value: str) -> str:
    _short(split(value)[1])
    return value


def _one_of_two(names: str) -> PydanticCustomError:
    return PydanticCustomError("one_of_two", "it has to name exactly one of {names}", {"names": names})


CustomId = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^\x00]*$"), AfterValidator(_short)]
S3Uri = Annotated[
    str, Field(max_length=1200, pattern=r"^s3://[a-z0-9][a-z0-9.-]+/[^\x00]+$"), AfterValidator(_of_short_key)
]


class OnAnyImage(Request):
    """One of the two says which image."""

    custom_id: CustomId | None = Field(None, description="your own name for the job; no two of a batch are alike")
    image_id: ImageId | None = Field(None, description="of a stored image")
    s3_uri: S3Uri | None = Field(None, description="s3://BUCKET/KEY in a bucket that the service may read")

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        if (self.image_id is None) == (self.s3_uri is None):
            raise _one_of_two("image_id and s3_uri")
        return self


class GcgLine(GcgAsk, OnAnyImage):
    pass


class CaptionLine(CaptionAsk, OnAnyImage):
    pass


class RefsegLine(RefsegAsk, OnAnyImage):
    pass


class RegionCaptionLine(RegionCaptionAsk, OnAnyImage):
    pass


class VqaLine(VqaAsk, OnAnyImage):
    pass


class GroundLine(GroundAsk, OnAnyImage):
    pass


ManifestLine = Annotated[
    GcgLine | CaptionLine | RefsegLine | RegionCaptionLine | VqaLine | GroundLine, Field(discriminator="task")
]
"""A line of a batch's manifest: a job, on an image that is stored or that lies in a bucket."""


class BatchOptions(Request):
    """What holds for a batch as a whole."""

    name: str = Field("", max_length=200, pattern=r"^[^\x00]*$", description="for people to tell it by")
    priority: Priority = Field(Priority.BULK, description="interactive jobs, of whomever, go before bulk ones")
    on_invalid: Literal["reject", "skip"] = Field(
        "reject", description="whether a line that is wrong keeps the whole batch out, or is left out and reported"
    )
    expires_in: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="seconds that its jobs may take; the service's limit when left out"
    )


class S3Prefix(Request):
    """Every PNG, JPEG and WebP file, by its name's ending, below a prefix."""

    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]+$", max_length=63)
    prefix: str = Field("", max_length=1024, pattern=r"^[^\x00]*$")


class BatchRequest(BatchOptions):
    """The same job on many images: on those of a list, or on all below a prefix of a bucket."""

    job: Asking
    image_ids: list[ImageId] | None = Field(None, min_length=1, description="of stored images, each once")
    s3: S3Prefix | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.image_ids is None) == (self.s3 is None):
            raise _one_of_two("image_ids and s3")
        return self


class BatchProblem(Response):
    """Jobs of a batch that failed alike; `detail` and `line` are those of the first, and `url` lists them all."""

    type: str
    title: str
    jobs: int
    line: int
    detail: str
    url: str


class BatchLinks(Response):
    self: str
    jobs: str
    results: str
    errors: str
    export: str


class Batch(Response):
    """`state` is `finished` once no job of it is left to do, `canceled` while its jobs are being taken away.

    `rate` is jobs a second that succeeded or failed, over the last minute, or since its first job was let in, or the
    batch was resumed or retried, if that is less.
    """

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
    eta_seconds: float | None = Field(
        description="at that rate; null where there is none, of one that is paused or canceled, and of a finished one"
    )
    problems: list[BatchProblem] = Field(description="why jobs failed, the most frequent first")
    links: BatchLinks


class Batches(Response):
    batches: list[Batch]
    next: str | None = Field(description="the `cursor` of the next page; null on the last")


class BatchJob(Response):
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


class BatchJobs(Response):
    jobs: list[BatchJob]
    next: str | None = Field(description="the `cursor` of the next page; null on the last")


class Export(Response):
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
