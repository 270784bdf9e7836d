"""`glamm submit`: upload what is missing, write the manifest, ask for the batch. Once, however often it is run.

A run that was interrupted goes on where it stopped. For the uploads that is a matter of not sending what is there. A
batch is known by a digest of all that is asked, which is noted with an Idempotency-Key before the service is asked.
Where its answer never came, the next run sends the same request again, under the same key, and the service gives it
the answer that got lost.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from services.cli.bulk.ledger import Ledger
from services.cli.bulk.looking import Broken
from services.cli.bulk.plans import InBucket, Plan
from services.cli.bulk.uploading import Stored, Upload
from services.cli.client import GlammClient, Refused
from services.cli.client.operations import OnInvalid
from shared import schema
from shared.errors import InvalidInput
from shared.priority import Priority

_JUDGED = (413, 415, 422)
"""Refusals of what was asked. After any other the request may still be under way, or pass when it is sent again."""

Seen = Callable[[Stored | Broken], None]


def _nobody(_end: Stored | Broken) -> None:
    """Sees nothing."""


@dataclass(frozen=True)
class Options:
    """What holds for the batch as a whole. expires_in: seconds; None for the service's own time."""

    name: str = ""
    priority: Priority = Priority.BULK
    on_invalid: OnInvalid = "reject"
    expires_in: float | None = None


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

    sent, there: images that were uploaded, and that were stored already. detour: the object store could not be reached
    from here, so that they went through the gateway.
    """

    batch: schema.Batch | None
    made: bool
    sent: int
    there: int
    broken: tuple[Broken, ...]
    detour: bool = False

    @property
    def images(self) -> int:
        """That lie here."""
        return self.sent + self.there + len(self.broken)


@dataclass(frozen=True)
class _Manifest:
    """A file that lives as long as the block which wrote it."""

    path: Path
    sha256: str


def submit(
    target: Target, plan: Plan, options: Options, ledger: Ledger, *, again: bool = False, seen: Seen = _nobody
) -> Submitted:
    """Make the batch of a plan, or find the one that an earlier run made.

    again: not so, make another; and have the service judge what has arrived, as something of it may be what failed.
    seen: is told of each file. Raises GlammError; Refused with the `lines` of the manifest that are wrong.
    """
    if not again and (batch := _made_before(target, plan, options, ledger)) is not None:
        return Submitted(batch, False, 0, len(plan.files), ())
    service = target.digest()
    ends: dict[Path, Stored | Broken] = {}
    sent, detour = set[Path](), False
    for forget in (_named, _all, None):
        # Lines whose images are not there would be left out, and nobody would repair that: so the service is asked.
        trusting = options.on_invalid == "reject"
        upload = Upload(target.client, ledger, service, judged=plan.has_boxes or again, trusting=trusting)
        for end in upload.run(plan.files):
            ends[end.path] = end
            if isinstance(end, Stored) and end.sent:
                sent.add(end.path)
            seen(end)
        seen, detour = _nobody, detour or upload.road.direct is False
        try:
            batch, made = _ask(target, plan, options, ledger, ends, again)
            break
        except Refused as error:
            ids = _ids(ends)
            if forget is None or _named(error, plan, ids).isdisjoint(ids.values()):
                raise
            # What an earlier run saw stored may have been deleted since, or outlived while no job needed it.
            ledger.forget_stored(service, forget(error, plan, ids))
    broken = tuple(end for end in ends.values() if isinstance(end, Broken))
    return Submitted(batch, made, len(sent), len(ends) - len(broken) - len(sent), broken, detour)


def submit_in_bucket(
    target: Target, plan: InBucket, options: Options, ledger: Ledger, *, again: bool = False
) -> Submitted:
    """The same where the service looks for the images itself.

    What lies there is not known here: an earlier run's batch is found although there may be other images now.
    """
    request = _batch_request(plan, options)

    def create(key: UUID) -> schema.Batch:
        return target.client.create_batch_of(request, idempotency_key=key)

    batch, made = _once(target, ledger, target.digest(request.model_dump(mode="json")), create, again)
    return Submitted(batch, made, 0, 0, ())


def _batch_request(plan: InBucket, options: Options) -> schema.BatchRequest:
    """Raises InvalidInput."""
    try:
        return schema.BatchRequest(job=schema.from_ask(plan.ask), s3=plan.place, **asdict(options))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise InvalidInput(option, f"{first['msg']}.", "`glamm submit --help` tells what it takes.") from None


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


def _ask(
    target: Target,
    plan: Plan,
    options: Options,
    ledger: Ledger,
    ends: Mapping[Path, Stored | Broken],
    again: bool,
) -> tuple[schema.Batch | None, bool]:
    """The batch, and whether it was made here."""
    ids = _ids(ends)
    if len(ids) < len(ends) and options.on_invalid == "reject":
        return None, False
    with _written(plan, ids) as manifest:

        def create(key: UUID) -> schema.Batch:
            return target.client.create_batch(manifest.path, **asdict(options), idempotency_key=key)

        return _once(target, ledger, _asked(target, options, manifest), create, again)


def _once(
    target: Target, ledger: Ledger, asked: str, create: Callable[[UUID], schema.Batch], again: bool
) -> tuple[schema.Batch, bool]:
    """The batch of that digest, and whether it was made here. create: asks for it under an Idempotency-Key."""
    with ledger.alone():
        attempt = ledger.attempt(asked)
        if attempt is not None and attempt.batch_id is not None:
            found = None if again else _still_there(target.client, attempt.batch_id)
            if found is not None:
                return found, False
            attempt = None
        if attempt is None:
            attempt = ledger.begin(asked)
        try:
            batch = create(attempt.key)
        except Refused as error:
            if error.problem.status in _JUDGED:
                ledger.abandon(asked)
            raise
        ledger.finish(asked, batch.id)
        return batch, True


def _asked(target: Target, options: Options, manifest: _Manifest) -> str:
    """What tells a batch from every other."""
    return target.digest(asdict(options), manifest.sha256)


@contextmanager
def _written(plan: Plan, ids: Mapping[Path, str]) -> Iterator[_Manifest]:
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        for line in plan.lines(ids):
            file.write(line + b"\n")
            digest.update(line + b"\n")
        file.flush()
        yield _Manifest(Path(file.name), digest.hexdigest())


def _still_there(client: GlammClient, batch_id: UUID) -> schema.Batch | None:
    """None from a service that runs on new data."""
    try:
        return client.batch(batch_id)
    except Refused as error:
        if error.problem.status != 404:
            raise
        return None


def _ids(ends: Mapping[Path, Stored | Broken]) -> dict[Path, str]:
    return {path: end.image_id for path, end in ends.items() if isinstance(end, Stored)}


def _named(error: Refused, plan: Plan, ids: Mapping[Path, str]) -> set[str]:
    """The images of the lines that were refused; of very many only the first are told."""
    wrong = {line["line"] for line in error.problem.lines if line["field"] == "image_id"}
    lines = (line for number, line in enumerate(plan.lines(ids), 1) if number in wrong)
    return {str(json.loads(line).get("image_id")) for line in lines}


def _all(_error: Refused, _plan: Plan, ids: Mapping[Path, str]) -> set[str]:
    return set(ids.values())
