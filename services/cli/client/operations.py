"""The operations of the HTTP API, each declared once for both clients; the gateway's OpenAPI document is their check.

Parameters of an operation that stand in its path go there, those named in `query` into the query; what the function
returns is the body.
"""

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import Literal
from uuid import UUID

import httpx

from services.cli.client.errors import retry_after
from services.cli.client.methods import Paged, Streamed, composed, operation, streamed
from services.cli.client.pieces import AsTheyCome, JobEvents, Lines
from services.cli.client.requests import Body, Data, File, Json, Request, head, sniff
from services.cli.client.steps import Pause, Send, Steps, patiently
from shared import schema
from shared.exports import Format
from shared.priority import Priority
from shared.scopes import Scope
from shared.states import State
from shared.tasks import Ask, Task
from shared.webhooks.events import EventType

GROUNDED_CAPTION = Ask(Task.GCG)
MANIFEST_TYPE = "application/jsonl"
_POLL_SECONDS = 20.0

OnInvalid = Literal["reject", "skip"]


class Operations:
    """Every method raises `Refused` for a problem that the service reports, `Unreachable` when it cannot be spoken to.

    Methods that need a scope beyond `read` and `write` say so.
    """

    url: str
    patience: float

    @operation("POST", "/images", schema.StoredImage, keyed=False)
    def upload_image(self, image: bytes | Path) -> Body:
        """Store a PNG, JPEG or WebP, from its bytes or its file. Sending it again is harmless. Raises OSError."""
        return Data(image, sniff(image)) if isinstance(image, bytes) else File(image, sniff(head(image)))

    @operation("POST", "/images/uploads", schema.Uploads, keyed=False)
    def declare_uploads(self, images: Iterable[schema.Upload]) -> Body:
        """Declare images, 1,000 at most, and learn of each whether it is stored, and else how to `send` its bytes."""
        return Json(schema.UploadsRequest(images=list(images)).model_dump(mode="json"))

    @composed
    def send(self, upload: schema.SignedRequest, image: bytes | Path, patience: float | None = None) -> Steps[None]:
        """Put a declared image, from its bytes or its file, into the object store, past the gateway. Raises OSError.

        patience: seconds for which it keeps trying, if other than the client's.
        """
        kind = {name.lower(): value for name, value in upload.headers.items()}["content-type"]
        body = Data(image, kind) if isinstance(image, bytes) else File(image, kind)
        request = Request(upload.method, upload.url, headers=upload.headers, body=body)
        yield from patiently(Send(request), self.patience if patience is None else patience)

    @operation("GET", "/images/{image_id}", schema.StoredImage)
    def image(self, image_id: str) -> None:
        """What is known of a stored image, named by the sha256 of its bytes."""

    @operation("DELETE", "/images/{image_id}", NoneType)
    def delete_image(self, image_id: str) -> None:
        """Delete an image's bytes; unfinished jobs on it are canceled."""

    @operation("POST", "/jobs", schema.Job)
    def create_job(
        self,
        image_id: str,
        ask: Ask = GROUNDED_CAPTION,
        *,
        priority: Priority = Priority.INTERACTIVE,
        expires_in: float | None = None,
    ) -> Body:
        """Ask something of a stored image. Boxes are xyxy in pixels of the image; `expires_in` is in seconds."""
        return Json({"image_id": image_id, **_asked(ask), **_terms(priority, expires_in)})

    @operation("PUT", "/jobs/{job_id}", schema.Job)
    def put_job(
        self,
        job_id: UUID,
        image_id: str,
        ask: Ask = GROUNDED_CAPTION,
        *,
        priority: Priority = Priority.INTERACTIVE,
        expires_in: float | None = None,
    ) -> Body:
        """The same under an id of the caller's own; the job that is there where it was sent before."""
        return Json({"image_id": image_id, **_asked(ask), **_terms(priority, expires_in)})

    @operation("GET", "/jobs", schema.JobPage, query=("state", "task", "image_id", "batch_id", "cursor", "limit"))
    def list_jobs(
        self,
        *,
        state: Iterable[State] = (),
        task: Task | None = None,
        image_id: str | None = None,
        batch_id: UUID | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> None:
        """A page of the owner's jobs, the newest first; of some alone where that is said."""

    jobs = Paged(list_jobs, lambda page: page.jobs)

    @operation("GET", "/jobs/{job_id}", schema.Job, query=("wait",))
    def job(self, job_id: UUID, wait: float = 0) -> None:
        """The job as it is, or as it is when it finishes within `wait` seconds."""

    @streamed("GET", "/jobs/{job_id}/events", JobEvents)
    def job_events(self, job_id: UUID) -> None:
        """The job at each change of its state, and between them its answers as the model writes them.

        It ends with the finished job; before that when the service stops, and after an hour: then call again.
        """

    @operation("POST", "/jobs/{job_id}/cancel", schema.Job, keyed=False)
    def cancel_job(self, job_id: UUID) -> None:
        """Let a job go no further. One that has finished stays as it is."""

    @composed
    def wait_for(
        self,
        job_id: UUID,
        *,
        timeout: float | None = None,
        every: float = _POLL_SECONDS,
        seen: Callable[[schema.Job], None] | None = None,
    ) -> Steps[schema.Job]:
        """The job once it has finished; `seen` is shown each state on the way, one every `every` seconds at most.

        Raises TimeoutError after `timeout` seconds; the job goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = every if deadline is None else min(every, max(0.0, deadline - time.monotonic()))
            job = yield from Operations.job.steps(self, job_id, wait=left)
            if seen is not None:
                seen(job)
            if job.state.finished:
                return job
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"job {job_id} is {job.state} after {timeout:g} s")

    @operation("GET", "/jobs/{job_id}/masks/{n}.png", bytes)
    def mask_png(self, job_id: UUID, n: int) -> None:
        """The mask of phrase n: PNG, 8-bit grey, 0 or 255, of the image's size."""

    @operation("GET", "/jobs/{job_id}/overlay.png", bytes)
    def overlay_png(self, job_id: UUID) -> None:
        """The image with every phrase's mask in the phrase's colour and a legend: PNG, RGB."""

    @operation("POST", "/conversations", schema.Conversation)
    def begin_conversation(self, image_id: str) -> Body:
        """Begin a conversation about a stored image."""
        return Json({"image_id": image_id})

    @operation("GET", "/conversations/{conversation_id}", schema.Conversation)
    def conversation(self, conversation_id: UUID) -> None:
        """A conversation's image and the URLs of its turns, of the last 200 if it has more."""

    @operation("GET", "/conversations/{conversation_id}/turns", schema.JobPage, query=("cursor", "limit"))
    def list_turns(self, conversation_id: UUID, *, cursor: str | None = None, limit: int | None = None) -> None:
        """A page of a conversation's turns, oldest first, without their results."""

    turns = Paged(list_turns, lambda page: page.jobs)

    @operation("POST", "/conversations/{conversation_id}/turns", schema.Job)
    def take_turn(
        self,
        conversation_id: UUID,
        ask: Ask,
        *,
        priority: Priority = Priority.INTERACTIVE,
        expires_in: float | None = None,
    ) -> Body:
        """Ask the next thing; the turn before has to be finished. `expires_in` is in seconds."""
        return Json({**_asked(ask), **_terms(priority, expires_in)})

    @operation("POST", "/batches", schema.Batch, query=("name", "priority", "on_invalid", "expires_in"))
    def create_batch(
        self,
        manifest: Path,
        *,
        name: str = "",
        priority: Priority = Priority.BULK,
        on_invalid: OnInvalid = "reject",
        expires_in: float | None = None,
        idempotency_key: UUID | None = None,
    ) -> Body:
        """Queue the jobs of a manifest, a file of JSON Lines, which is read as it is sent. Raises OSError."""
        return File(manifest, MANIFEST_TYPE)

    @operation("POST", "/batches", schema.Batch)
    def create_batch_of(self, asked: schema.BatchRequest, *, idempotency_key: UUID | None = None) -> Body:
        """Queue one job on each image of a list, or on each below a prefix of a bucket."""
        return Json(asked.model_dump(mode="json", exclude_none=True))

    @operation("GET", "/batches", schema.Batches, query=("cursor", "limit"))
    def list_batches(self, *, cursor: str | None = None, limit: int | None = None) -> None:
        """A page of the owner's batches, the newest first; `next` is the cursor of the page behind it."""

    batches = Paged(list_batches, lambda page: page.batches)

    @operation("GET", "/batches/{batch_id}", schema.Batch)
    def batch(self, batch_id: UUID) -> None:
        """How far a batch is: its jobs by state, how fast it goes, and why jobs failed."""

    @operation(
        "GET",
        "/batches/{batch_id}/jobs",
        schema.BatchJobs,
        query=("state", "task", "custom_id", "error_type", "cursor", "limit"),
    )
    def list_batch_jobs(
        self,
        batch_id: UUID,
        *,
        state: Iterable[State] = (),
        task: Task | None = None,
        custom_id: str | None = None,
        error_type: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> None:
        """A page of a batch's jobs in the order of its manifest; of some alone where that is said.

        `error_type` is that of the batch's `problems`.
        """

    batch_jobs = Paged(list_batch_jobs, lambda page: page.jobs)

    @operation("POST", "/batches/{batch_id}/cancel", schema.Batch, keyed=False)
    def cancel_batch(self, batch_id: UUID) -> None:
        """Cancel every job of it that has not finished."""

    @operation("POST", "/batches/{batch_id}/pause", schema.Batch, keyed=False)
    def pause_batch(self, batch_id: UUID) -> None:
        """Start no more of its jobs; those that have started go on."""

    @operation("POST", "/batches/{batch_id}/resume", schema.Batch, keyed=False)
    def resume_batch(self, batch_id: UUID) -> None:
        """Go on with a batch that was paused."""

    @operation("POST", "/batches/{batch_id}/retry", schema.Batch)
    def retry_batch(self, batch_id: UUID) -> None:
        """Queue the jobs that have failed once more, and only those."""

    @streamed("GET", "/batches/{batch_id}/results.jsonl", Lines)
    def results(self, batch_id: UUID) -> None:
        """The results that there are, by line of the manifest: a line of JSON each, without its line feed."""

    @streamed("GET", "/batches/{batch_id}/errors.jsonl", Lines)
    def errors(self, batch_id: UUID) -> None:
        """What has no result, in the same form: lines that were invalid, then jobs that failed, then canceled ones."""

    @operation("GET", "/batches/{batch_id}/export", schema.Export, query=("format",))
    def export(self, batch_id: UUID, format: Format) -> None:  # noqa: A002 -- the API's name for it
        """Have a batch's results built as a file of that format, and see how far it is."""

    @composed
    def built_export(
        self,
        batch_id: UUID,
        format: Format,  # noqa: A002
        seen: Callable[[schema.Export], None] | None = None,
    ) -> Steps[schema.Export]:
        """The same once there is a `url` to `download` it from, or an `error`; `seen` is shown how far it is."""
        while True:
            answer = yield from Operations.export.answered(self, batch_id, format)
            export = Operations.export.read(self, answer)
            if seen is not None:
                seen(export)
            if answer.status_code != httpx.codes.ACCEPTED:
                return export
            yield Pause(retry_after(answer))

    def _opened(self, url: str) -> Steps[httpx.Response]:
        """The bytes at a URL that another server gave out, piece by piece. It is not shown the API key."""
        return patiently(Send(Request("GET", url), streamed=True), self.patience)

    download = Streamed(_opened, AsTheyCome)

    @operation("POST", "/keys", schema.CreatedKey)
    def create_key(
        self, owner: str, scopes: Iterable[Scope], name: str = "", expires_at: datetime | None = None
    ) -> Body:
        """Make an API key for an owner; its secret is in the answer and nowhere else. Needs the scope `admin`."""
        ends = expires_at and expires_at.isoformat()
        return Json({"owner": owner, "scopes": list(scopes), "name": name, "expires_at": ends})

    @operation("GET", "/keys", schema.Keys, query=("cursor", "limit"))
    def list_keys(self, *, cursor: str | None = None, limit: int | None = None) -> None:
        """A page of all API keys, the newest first. Needs the scope `admin`."""

    keys = Paged(list_keys, lambda page: page.keys)

    @operation("DELETE", "/keys/{key_id}", schema.Key)
    def revoke_key(self, key_id: UUID) -> None:
        """Let a key open nothing any more. Needs the scope `admin`."""

    @operation("GET", "/owners/{name}/limits", schema.Allowance)
    def limits(self, name: str) -> None:
        """What an owner may take, and how much of it is taken. Needs the scope `admin`."""

    @operation("PUT", "/owners/{name}/limits", schema.OwnerLimits)
    def set_limits(
        self,
        name: str,
        requests_per_minute: int | None = None,
        stored_bytes: int | None = None,
        queued_jobs: int | None = None,
    ) -> Body:
        """Replace an owner's limits; None for what the service's settings say. Needs the scope `admin`."""
        limits = {
            "requests_per_minute": requests_per_minute,
            "stored_bytes": stored_bytes,
            "queued_jobs": queued_jobs,
        }
        return Json(limits)

    @operation("POST", "/webhooks", schema.CreatedWebhook)
    def create_webhook(self, url: str, events: Iterable[EventType], description: str = "") -> Body:
        """Have events sent to a URL; the secret they are signed with is in the answer and nowhere else."""
        return Json({"url": url, "events": list(events), "description": description})

    @operation("GET", "/webhooks", schema.Webhooks, query=("cursor", "limit"))
    def list_webhooks(self, *, cursor: str | None = None, limit: int | None = None) -> None:
        """A page of the owner's webhooks, the newest first."""

    webhooks = Paged(list_webhooks, lambda page: page.webhooks)

    @operation("GET", "/webhooks/{webhook_id}", schema.Webhook)
    def webhook(self, webhook_id: UUID) -> None:
        """Where a webhook leads, what it is told of, and whether that arrives."""

    @operation("PATCH", "/webhooks/{webhook_id}", schema.Webhook)
    def change_webhook(self, webhook_id: UUID, change: schema.WebhookChange) -> Body:
        """Change what is given; the rest stays."""
        return Json(change.model_dump(mode="json", exclude_none=True))

    @operation("DELETE", "/webhooks/{webhook_id}", NoneType)
    def delete_webhook(self, webhook_id: UUID) -> None:
        """Tell it nothing more, and forget its log."""

    @operation("POST", "/webhooks/{webhook_id}/rotate", schema.CreatedWebhook)
    def rotate_webhook(self, webhook_id: UUID) -> None:
        """Give it another secret; the old one signs beside it for a day."""

    @operation("POST", "/webhooks/{webhook_id}/test", schema.Delivery)
    def test_webhook(self, webhook_id: UUID) -> None:
        """Send it an event that tells of nothing."""

    @operation("GET", "/webhooks/{webhook_id}/deliveries", schema.Deliveries, query=("cursor", "limit"))
    def list_deliveries(self, webhook_id: UUID, *, cursor: str | None = None, limit: int | None = None) -> None:
        """A page of what was sent to it, the newest first, with every attempt."""

    deliveries = Paged(list_deliveries, lambda page: page.deliveries)

    @operation("GET", "/healthz", schema.Health, patient=False)
    def greet(self) -> None:
        """Return when the service answers at all, at once or not at all: patience is for a service that was there."""

    @operation("GET", "/readyz", schema.Health, patient=False)
    def ready(self) -> None:
        """Return when the service says that it can take jobs. Raises `Refused` with the reason if it cannot."""


def _terms(priority: Priority, expires_in: float | None) -> dict[str, object]:
    return {"priority": priority} | ({} if expires_in is None else {"expires_in": expires_in})


def _asked(ask: Ask) -> dict[str, object]:
    return schema.from_ask(ask).model_dump(mode="json")
