"""How a stage can fail a job for reasons that are not the client's."""

# ruff: noqa: N818 -- the names say what happened

import torch

from shared.errors import GlammError
from workers.ticket import TookTooLong


class FeaturesGone(Exception):
    """A part of the image's features is not in the store (any more): the job has to go back to vision."""

    def __init__(self, part: str) -> None:
        super().__init__(f"the image's {part} features have gone")
        self.part = part


class StageFailed(GlammError):
    """The stage raised something that nobody foresaw for this job."""

    title = "Stage failed"
    type_slug = "stage-failed"

    def __init__(self, cause: BaseException) -> None:
        super().__init__(
            f"{type(cause).__name__}: {cause}",
            remedy="Look for this job's id in the workers' logs.",
        )


class OutOfMemory(GlammError):
    """The job needs more memory than the device has, even alone."""

    title = "Out of memory"
    type_slug = "out-of-memory"

    def __init__(self) -> None:
        super().__init__(
            "The job does not fit into the memory of the worker's device.",
            remedy="Run the workers on a device with more memory, or set GLAMM_DTYPE=bfloat16.",
        )


class StageTimedOut(GlammError):
    """The stage was not finished within the watchdog's time."""

    title = "Stage timed out"
    status = 504
    type_slug = "stage-timed-out"

    def __init__(self) -> None:
        super().__init__(
            "The stage was not finished in the time it may take.",
            remedy="Start more workers for this stage, or raise GLAMM_WATCHDOG_SECONDS.",
        )


def explained(error: Exception) -> GlammError:
    """The error that a client is shown for what a stage raised."""
    if isinstance(error, GlammError):
        return error
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return OutOfMemory()
    if isinstance(error, TookTooLong):
        return StageTimedOut()
    return StageFailed(error)
