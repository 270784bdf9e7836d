"""What went wrong."""

from pydantic import Field

from shared.schema.base import Response
from shared.states import Stage


class LineProblem(Response):
    line: int
    field: str | None
    detail: str
    remedy: str | None


class Problem(Response):
    """RFC 9457: what went wrong, which input is at fault and what to do about it."""

    type: str = Field(description="stable, for programs to compare")
    title: str
    status: int
    detail: str
    field: str | None = None
    remedy: str | None = None
    lines: list[LineProblem] = Field([], description="of a manifest or of `image_ids`: the first that are wrong")


class Failure(Problem):
    """Why a job failed, and where; no stage for one that never left the queue."""

    stage: Stage | None = None
    attempt: int = 0
