"""The service over HTTP, typed: what `glamm annotate` and any other Python program may use."""

# ruff: noqa: N818 -- the names say what happened, as those of shared.errors do

import random
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx
from pydantic import BaseModel, ValidationError

from shared import schema
from shared.errors import GlammError, InvalidInput, Problem
from shared.scopes import Scope
from shared.tasks import Ask, Task
from shared.version import VERSION

_POLL_SECONDS = 20.0
GROUNDED_CAPTION = Ask(Task.GCG)

Read = TypeVar("Read", bound=BaseModel)


class Refused(GlammError):
    """The service answered with a problem; its members are this error's."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail, field=problem.field, remedy=problem.remedy)
        self.problem = problem

    @property
    def blames_the_request(self) -> bool:
        return 400 <= self.problem.status < 500

    def to_problem(self) -> Problem:
        return self.problem


class Unreachable(GlammError):
    """Nobody answers at the address, or not as this service does."""

    title = "Unreachable"
    status = 502
    type_slug = "unreachable"


class GlammClient:
    """One service at one URL. Safe to share between threads.

    `patience` is how many seconds a call keeps trying while the service is out of reach or asks to come back later.
    Every method raises `Refused` for a problem that the service reports and `Unreachable` when it cannot be spoken to;
    the constructor raises `InvalidInput` for what is no URL.
    """

    def __init__(self, url: str, *, api_key: str | None = None, patience: float = 30.0, timeout: float = 60.0) -> None:
        try:
            self._http = httpx.Client(
                base_url=url,
                headers={} if api_key is None else {"Authorization": f"Bearer {api_key}"},
                timeout=httpx.Timeout(timeout, connect=5.0),
                limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
            )
        except httpx.InvalidURL as error:
            raise InvalidInput("url", f"{url!r} is not a URL: {error}.", "Write http://HOST:PORT.") from None
        self.url = url
        self._patience = patience

    def upload_image(self, data: bytes) -> schema.StoredImage:
        """Store the bytes of a PNG, JPEG or WebP file. Sending the same image again is harmless."""
        answer = self._call("POST", "/images", repeatable=True, content=data, headers={"content-type": _sniff(data)})
        return self._read(schema.StoredImage, answer)

    def delete_image(self, image_id: str) -> None:
        """Delete an image's bytes; unfinished jobs on it are canceled."""
        self._call("DELETE", f"/images/{image_id}", repeatable=True)

    def create_job(self, image_id: str, ask: Ask = GROUNDED_CAPTION) -> schema.Job:
        """Ask something of a stored image. Boxes are xyxy in pixels of the image."""
        answer = self._call("POST", "/jobs", json={"image_id": image_id, **_body(ask)})
        return self._read(schema.Job, answer)

    def begin_conversation(self, image_id: str) -> schema.Conversation:
        """Begin a conversation about a stored image."""
        answer = self._call("POST", "/conversations", json={"image_id": image_id})
        return self._read(schema.Conversation, answer)

    def conversation(self, conversation_id: UUID) -> schema.Conversation:
        answer = self._call("GET", f"/conversations/{conversation_id}", repeatable=True)
        return self._read(schema.Conversation, answer)

    def take_turn(self, conversation_id: UUID, ask: Ask) -> schema.Job:
        """Ask the next thing; the turn before has to be finished."""
        answer = self._call("POST", f"/conversations/{conversation_id}/turns", json=_body(ask))
        return self._read(schema.Job, answer)

    def job(self, job_id: UUID, wait: float = 0.0) -> schema.Job:
        """The job as it is, or as it is when it finishes within `wait` seconds."""
        answer = self._call("GET", f"/jobs/{job_id}", repeatable=True, params={"wait": wait} if wait else {})
        return self._read(schema.Job, answer)

    def wait_for(
        self,
        job_id: UUID,
        *,
        timeout: float | None = None,
        every: float = _POLL_SECONDS,
        seen: Callable[[schema.Job], None] | None = None,
    ) -> schema.Job:
        """The job once it has finished; `seen` is shown each state on the way, one every `every` seconds at most.

        Raises TimeoutError after `timeout` seconds; the job goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = every if deadline is None else min(every, max(0.0, deadline - time.monotonic()))
            job = self.job(job_id, wait=left)
            if seen is not None:
                seen(job)
            if job.state.finished:
                return job
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"job {job_id} is {job.state} after {timeout:g} s")

    def mask_png(self, job_id: UUID, n: int) -> bytes:
        """The mask of phrase n: PNG, 8-bit grey, 0 or 255, of the image's size."""
        return self._call("GET", f"/jobs/{job_id}/masks/{n}.png", repeatable=True).content

    def overlay_png(self, job_id: UUID) -> bytes:
        """The image with every phrase's mask in the phrase's colour and a legend: PNG, RGB."""
        return self._call("GET", f"/jobs/{job_id}/overlay.png", repeatable=True).content

    def create_key(
        self, owner: str, scopes: Iterable[Scope], name: str = "", expires_at: datetime | None = None
    ) -> schema.CreatedKey:
        """Make an API key for an owner; its secret is in the answer and nowhere else. Needs the scope `admin`."""
        ends = expires_at and expires_at.isoformat()
        asked = {"owner": owner, "scopes": list(scopes), "name": name, "expires_at": ends}
        answer = self._call("POST", "/keys", json=asked)
        return self._read(schema.CreatedKey, answer)

    def keys(self) -> list[schema.Key]:
        """All API keys, the newest first. Needs the scope `admin`."""
        return self._read(schema.Keys, self._call("GET", "/keys", repeatable=True)).keys

    def revoke_key(self, key_id: UUID) -> schema.Key:
        """Let a key open nothing any more. Needs the scope `admin`."""
        return self._read(schema.Key, self._call("DELETE", f"/keys/{key_id}", repeatable=True))

    def set_limits(
        self,
        owner: str,
        requests_per_minute: int | None = None,
        stored_bytes: int | None = None,
        queued_jobs: int | None = None,
    ) -> None:
        """Replace an owner's limits; None for what the service's settings say. Needs the scope `admin`."""
        asked = {
            "requests_per_minute": requests_per_minute,
            "stored_bytes": stored_bytes,
            "queued_jobs": queued_jobs,
        }
        self._call("PUT", f"/owners/{quote(owner, safe='')}/limits", repeatable=True, json=asked)

    def greet(self) -> None:
        """Return when the service answers at all, at once or not at all: patience is for a service that was there."""
        self._answer("GET", "/healthz")

    def ready(self) -> None:
        """Return when the service says that it can take jobs. Raises `Refused` with the reason if it cannot."""
        self._answer("GET", "/readyz")

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, path: str, *, repeatable: bool = False, **options: object) -> httpx.Response:
        """Try until `patience` runs out. A call that is not repeatable is sent again only if it cannot have arrived."""
        deadline = time.monotonic() + self._patience
        for delay in _delays():
            try:
                return self._answer(method, path, **options)
            except Unreachable as error:
                unsent = isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)
                if not (repeatable or unsent) or time.monotonic() + delay > deadline:
                    raise
            except _Busy as busy:
                delay = max(delay, busy.retry_after)
                if time.monotonic() + delay > deadline:
                    raise
            time.sleep(delay)
        raise AssertionError("delays never end")

    def _answer(self, method: str, path: str, **options: object) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)  # type: ignore[arg-type]
        except httpx.TransportError as error:
            raise Unreachable(
                f"No answer from {self.url} ({type(error).__name__}).",
                field="url",
                remedy="Start the service with `glamm up`, or name another with --url.",
            ) from error
        if answer.is_success:
            return answer
        problem = _problem(answer)
        if answer.status_code in (429, 503) and path != "/readyz":
            raise _Busy(problem, _retry_after(answer))
        raise Refused(problem)

    def _read(self, kind: type[Read], answer: httpx.Response) -> Read:
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "body"
            raise Unreachable(
                f"{self.url} answered with what is no {kind.__name__} to glamm {VERSION} ({place}: {first['msg']}).",
                field="url",
                remedy="If the service is newer, install its version here; otherwise check that --url names it.",
            ) from error


def _body(ask: Ask) -> dict[str, object]:
    return schema.from_ask(ask).model_dump(mode="json")


class _Busy(Refused):
    def __init__(self, problem: Problem, retry_after: float) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


def _delays() -> Iterator[float]:
    """Growing pauses with a random part, so that many clients do not come back at once."""
    delay = 0.1
    while True:
        yield delay * random.uniform(0.7, 1.3)
        delay = min(2 * delay, 3.0)


def _retry_after(answer: httpx.Response) -> float:
    try:
        return max(0.0, float(answer.headers.get("retry-after", "0")))
    except ValueError:
        return 0.0  # a date, which the service does not send


def _problem(answer: httpx.Response) -> Problem:
    """The problem in an answer; one of our own for an answer that is none of this service's, such as a proxy's."""
    try:
        return Problem.from_json(answer.json())
    except (ValueError, KeyError, TypeError):
        return Problem(
            type="about:blank",
            title=answer.reason_phrase,
            status=answer.status_code,
            detail=f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}.",
            field="url" if answer.status_code < 500 else None,
            remedy="Check that --url names this service." if answer.status_code < 500 else None,
        )


def _sniff(data: bytes) -> str:
    """The content type to declare; the service looks at the bytes and refuses what does not fit."""
    if data.startswith(b"\x89PNG"):
        return "image/png"
    if data.startswith(b"\xff\xd8"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return "application/octet-stream"
