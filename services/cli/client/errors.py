"""How a call to the service fails."""

# ruff: noqa: N818 -- the names say what happened, as those of shared.errors do

import httpx

from shared.errors import GlammError, Problem

_AWAY = (502, 503, 504)
"""The service, or what a proxy in between or the object store leans on, may be back in a moment."""


_FULL_QUEUE = "queued_jobs"


class Refused(GlammError):
    """The service answered with a problem; its members are this error's."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail, field=problem.field, remedy=problem.remedy)
        self.problem = problem

    @property
    def blames_the_request(self) -> bool:
        """Whether it has to be another. One that meets a limit (429) may stay as it is."""
        return 400 <= self.problem.status < 500 and self.problem.status != 429

    def to_problem(self) -> Problem:
        return self.problem


class Busy(Refused):
    """The service may take the same request later, maybe after `retry_after` seconds."""

    def __init__(self, problem: Problem, retry_after: float) -> None:
        super().__init__(problem)
        self.retry_after = retry_after

    @property
    def blames_the_request(self) -> bool:
        return False


class Unreachable(GlammError):
    """Nobody answers at the address, or not as this service does."""

    title = "Unreachable"
    status = 502
    type_slug = "unreachable"


def unreachable(request: httpx.Request, error: httpx.TransportError) -> Unreachable:
    url = request.url.copy_with(raw_path=b"/")
    return Unreachable(
        f"No answer from {str(url).rstrip('/')} ({type(error).__name__}).",
        field="url",
        remedy="Start the service with `glamm up`, or name another with --url.",
    )


def refusal(answer: httpx.Response) -> Refused:
    """Of an answer without success, whose body has been read.

    A limit that waiting helps against names the time. Until a queue that is full has room it may be hours, whatever
    time is named: that is for people to hear, and not to be tried again and again with all of a manifest.
    """
    problem = _problem(answer)
    if answer.status_code in _AWAY or ("retry-after" in answer.headers and problem.field != _FULL_QUEUE):
        return Busy(problem, retry_after(answer))
    return Refused(problem)


def retry_after(answer: httpx.Response) -> float:
    """Seconds; 0 where the answer says nothing."""
    try:
        return max(0.0, float(answer.headers.get("retry-after", "0")))
    except ValueError:
        return 0.0  # a date, which the service does not send


def _problem(answer: httpx.Response) -> Problem:
    """The problem in an answer; one of our own for an answer that is none of this service's, such as a proxy's."""
    try:
        return Problem.from_json(answer.json())
    except (ValueError, KeyError, TypeError):
        host = answer.request.url.copy_with(query=None)
        return Problem(
            type="about:blank",
            title=answer.reason_phrase,
            status=answer.status_code,
            detail=f"{host} answered {answer.status_code} {answer.reason_phrase}.",
            field="url" if answer.status_code < 500 else None,
            remedy="Check that --url names this service." if answer.status_code < 500 else None,
        )
