"""`glamm submit`: upload what is missing, write the manifest, ask for the batch. Once, however often it is run.

A run that was interrupted goes on where it stopped. For the uploads that is a matter of not sending what is there. A
batch is known by a digest of all that is asked, which is noted before the service is asked. Where its answer never
came, the next run looks for the batch among those made since, and sends the same request again, under the same
Idempotency-Key, if it is not there.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from services.cli.bulk.ledger import Attempt, Ledger
from services.cli.bulk.plans import Plan
from services.cli.bulk.uploading import Broken, Stored, upload
from services.cli.client import GlammClient, Refused
from services.cli.client.operations import OnInvalid
from shared import schema
from shared.priority import Priority

_COMPARED = 200
"""Jobs of a batch by which it is known again, besides its name and its number of jobs: a page."""

Seen = Callable[[Stored | Broken], None]


@dataclass(frozen=True)
class Options:
    """What holds for the batch as a whole."""

    name: str = ""
    priority: Priority = Priority.BULK
    on_invalid: OnInvalid = "reject"


@dataclass(frozen=True)
class Target:
    """The service, and who speaks to it: batches of another owner are other batches."""

    client: GlammClient
    api_key: str | None

    def digest(self, *more: Any) -> str:
        return hashlib.sha256(json.dumps([self.client.url, self.api_key, *more]).encode()).hexdigest()


@dataclass(frozen=True)
class Submitted:
    """batch: none where files are broken that may not be left out. made: by this run, not by an earlier one.

    sent, there: images that were uploaded, and that were stored already.
    """

    batch: schema.Batch | None
    made: bool
    sent: int
    there: int
    broken: tuple[Broken, ...]


@dataclass(frozen=True)
class _Manifest:
    """A file that lives as long as the block which wrote it. lines: of jobs."""

    path: Path
    sha256: str
    lines: int


def submit(
    target: Target, plan: Plan, options: Options, ledger: Ledger, *, again: bool = False, seen: Seen = lambda _: None
) -> Submitted:
    """Make the batch of a plan, or find the one that an earlier run made. again: not so, make another.

    seen: is told of each file. Raises GlammError; Refused with the `lines` of the manifest that are wrong.
    """
    if not again and (batch := _made_before(target, plan, options, ledger)) is not None:
        return Submitted(batch, False, 0, len(plan.files), ())
    submission = target.digest([str(path) for path in plan.files])
    ends = _upload(target.client, plan, ledger, submission, seen)
    try:
        batch, made = _ask(target, plan, options, ledger, ends, again)
    except Refused as error:
        if not _of_images(error):
            raise
        # What an earlier run saw stored may have been deleted since.
        ledger.forget_stored(submission)
        ends = _upload(target.client, plan, ledger, submission, lambda _: None)
        batch, made = _ask(target, plan, options, ledger, ends, again)
    if batch is not None:
        ledger.forget_stored(submission)
    stored = [end for end in ends.values() if isinstance(end, Stored)]
    broken = tuple(end for end in ends.values() if isinstance(end, Broken))
    sent = sum(end.sent for end in stored)
    return Submitted(batch, made, sent, len(stored) - sent, broken)


def _made_before(target: Target, plan: Plan, options: Options, ledger: Ledger) -> schema.Batch | None:
    """The batch that an earlier run made of the very same files: then none has to be read, or asked for, again."""
    ids: dict[Path, str] = {}
    for path in plan.files:
        sha256 = ledger.sha256_of(path)
        if sha256 is None:
            return None
        ids[path] = sha256
    with _written(plan, ids) as manifest:
        attempt = ledger.attempt(_asked(target, options, manifest))
    return None if attempt is None or attempt.batch_id is None else _still_there(target.client, attempt.batch_id)


def _upload(
    client: GlammClient, plan: Plan, ledger: Ledger, submission: str, seen: Seen
) -> dict[Path, Stored | Broken]:
    ends: dict[Path, Stored | Broken] = {}
    for end in upload(client, plan.files, ledger, submission):
        ends[end.path] = end
        seen(end)
    return ends


def _ask(
    target: Target,
    plan: Plan,
    options: Options,
    ledger: Ledger,
    ends: Mapping[Path, Stored | Broken],
    again: bool,
) -> tuple[schema.Batch | None, bool]:
    """The batch, and whether it was made here."""
    ids = {path: end.image_id for path, end in ends.items() if isinstance(end, Stored)}
    if len(ids) < len(ends) and options.on_invalid == "reject":
        return None, False
    with _written(plan, ids) as manifest, ledger.alone():
        asked = _asked(target, options, manifest)
        attempt = ledger.attempt(asked)
        if again and attempt is not None and attempt.batch_id is not None:
            attempt = None
        found = None if attempt is None else _find(target.client, attempt, options, manifest)
        if found is not None:
            ledger.finish(asked, found.id)
            return found, False
        if attempt is None or attempt.batch_id is not None:
            attempt = ledger.begin(asked, _newest(target.client))
        try:
            batch = target.client.create_batch(manifest.path, **asdict(options), idempotency_key=attempt.key)
        except Refused as error:
            if error.blames_the_request:
                ledger.abandon(asked)
            raise
        ledger.finish(asked, batch.id)
        return batch, True


def _asked(target: Target, options: Options, manifest: _Manifest) -> str:
    """What tells a batch from every other."""
    return target.digest(asdict(options), manifest.sha256)


@contextmanager
def _written(plan: Plan, ids: Mapping[Path, str]) -> Iterator[_Manifest]:
    digest, count = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        for line in plan.lines(ids):
            file.write(line + b"\n")
            digest.update(line + b"\n")
            count += bool(line.strip())
        file.flush()
        yield _Manifest(Path(file.name), digest.hexdigest(), count)


def _newest(client: GlammClient) -> UUID | None:
    return next((batch.id for batch in client.list_batches(limit=1).batches), None)


def _find(client: GlammClient, attempt: Attempt, options: Options, manifest: _Manifest) -> schema.Batch | None:
    """What an earlier run asked for, if the service made it. Ids grow, so what came before it need not be looked at."""
    if attempt.batch_id is not None:
        return _still_there(client, attempt.batch_id)
    for batch in client.batches():
        if attempt.behind is not None and batch.id <= attempt.behind:
            return None
        alike = (batch.name, batch.priority, batch.jobs + batch.invalid_lines) == (
            options.name,
            options.priority,
            manifest.lines,
        )
        if alike and _begins_as(client, batch, manifest):
            return batch
    return None


def _still_there(client: GlammClient, batch_id: UUID) -> schema.Batch | None:
    """None from a service that runs on new data."""
    try:
        return client.batch(batch_id)
    except Refused as error:
        if error.problem.status != 404:
            raise
        return None


def _begins_as(client: GlammClient, batch: schema.Batch, manifest: _Manifest) -> bool:
    """Whether the batch's first jobs are those of the manifest."""
    page = client.list_batch_jobs(batch.id, limit=_COMPARED)
    wanted = {job.line: (job.custom_id, job.image_id or job.source) for job in page.jobs}
    with manifest.path.open("rb") as lines:
        for number, raw in enumerate(islice(lines, max(wanted, default=0)), 1):
            if number not in wanted:
                continue
            told = json.loads(raw)
            if wanted[number] != (told.get("custom_id"), told.get("image_id") or told.get("s3_uri")):
                return False
    return True


def _of_images(error: Refused) -> bool:
    return any(line["field"] == "image_id" for line in error.problem.lines)
