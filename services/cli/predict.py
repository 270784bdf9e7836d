"""`glamm predict`: a set of images through a running service, into the files that `glamm evaluate` reads.

A file a job, each written when it is whole: a run that was stopped goes on with what has no file yet. Which
questions are asked of an image comes from the ground truth's own files, see `questions`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from services.cli import batch, questions, report
from services.cli.asking import Kind
from services.cli.client import GlammClient
from services.cli.questions import ENDINGS, Planned
from shared import schema
from shared.errors import InvalidInput
from shared.priority import Priority
from shared.tasks import Ask

_LOOK_SECONDS = 20.0
"""Nobody watches a single job of a set, and every look costs the service something."""

Record = list[dict[str, Any]] | dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A set's jobs, each with a file of its own in `out`; and questions that failed already, since no service can
    answer them."""

    kind: Kind
    out: Path
    jobs: tuple[Planned, ...]
    impossible: tuple[batch.Done, ...] = ()

    def left(self) -> list[batch.Request]:
        """Those that have no file yet."""
        return [one.request for one in self.jobs if not self.file(one.request).exists()]

    def file(self, request: batch.Request) -> Path:
        return self.out / f"{request.name}.json"


@dataclass(frozen=True)
class Predicted:
    """How a set's predictions ended. there: of how many an earlier run had left the files."""

    plan: Plan
    there: int
    summary: report.Summary

    def as_json(self) -> str:
        told = {"predicted": self.summary.succeeded, "there": self.there, "failed": self.summary.failed}
        return json.dumps({"out": str(self.plan.out), **told})

    def __str__(self) -> str:
        made, failed = self.summary.succeeded, self.summary.failed
        return f"{self.plan.out}: {made} predicted, {self.there} there already, {failed} failed"


def plan(kind: Kind, images: Path, truth: Path | None, out: Path, split: str | None = None) -> Plan:
    """A job for each image of the folder, or for what the ground truth asks of it. Raises InvalidInput.

    split: of a ground truth that holds several.
    """
    if not images.is_dir():
        raise InvalidInput("--images", f"{images} is no folder.", "Name the folder with the images.")
    if truth is None:
        if split is not None:
            raise InvalidInput("--split", "There is no ground truth to split.", "Name it by --ground-truth.")
        if kind not in (Kind.GCG, Kind.CAPTION):
            raise InvalidInput("--ground-truth", f"{kind} asks what a file says.", "Name the ground truth's file.")
        ask = Ask(kind.task)
        whole = (Planned(batch.Request(path, quote(path.stem, ""), ask), path.stem) for path in _all(images))
        return Plan(kind, out, tuple(whole))
    jobs: list[Planned] = []
    impossible: list[batch.Done] = []
    for item in questions.read(kind, images, truth, split):
        if isinstance(item, Planned):
            jobs.append(item)
        else:
            impossible.append(item)
    return Plan(kind, out, tuple(jobs), tuple(impossible))


def run(client: GlammClient, plans: Sequence[Plan], in_flight: int, err: Console) -> list[Predicted]:
    """Make the predictions that are not there, with progress and faults on `err`; no two plans of one kind.

    All that is asked about an image goes together, so that the service need encode it only once; and as bulk, so that
    nobody waits behind it.
    """
    for one in plans:
        _make(one.out)
    left = [one.left() for one in plans]
    there = [len(one.jobs) - len(some) for one, some in zip(plans, left, strict=True)]
    keepers = {one.kind.task: _keeper(one) for one in plans}

    def keep(client: GlammClient, request: batch.Request, job: schema.Job) -> tuple[Path, ...]:
        return keepers[request.ask.task](client, request, job)

    asked = sorted(chain.from_iterable(left), key=lambda request: request.path)
    answers = batch.run(client, asked, keep, in_flight, _LOOK_SECONDS, Priority.BULK)
    news = chain(*(one.impossible for one in plans), answers)
    bars = {
        one.kind.task: report.Bar(len(one.jobs) + len(one.impossible), done)
        for one, done in zip(plans, there, strict=True)
    }
    summaries = report.count(news, bars, err)
    return [Predicted(one, done, summaries[one.kind.task]) for one, done in zip(plans, there, strict=True)]


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput("--out", f"{out} cannot be made: {error.strerror}.", "Choose another folder.") from None


def _keeper(plan: Plan) -> batch.Keep:
    """Writes each job's answers into its file."""
    by_request = {one.request: one for one in plan.jobs}
    record = {
        Kind.GCG: _gcg,
        Kind.REFSEG: _refseg,
        Kind.REGION_CAPTION: _region_captions,
        Kind.VQA: _answer,
        Kind.CAPTION: _caption,
    }[plan.kind]

    def write(_client: GlammClient, request: batch.Request, job: schema.Job) -> tuple[Path, ...]:
        assert job.result is not None
        path = plan.file(request)
        batch.write_json(path, record(by_request[request], job.result))
        return (path,)

    return write


def _all(images: Path) -> list[Path]:
    """The folder's images, no two of one name: the name is an image's id, and its file's."""
    found = sorted(path for path in images.iterdir() if path.suffix.lower() in ENDINGS)
    if not found:
        raise InvalidInput("--images", f"{images} holds no PNG, JPEG or WebP.", "Name the folder with the images.")
    by_name: dict[str, Path] = {}
    for path in found:
        if (other := by_name.setdefault(path.stem, path)) != path:
            raise InvalidInput(
                "--images", f"{other} and {path} would be predicted into one file.", "Rename or remove one of them."
            )
    return found


def _gcg(one: Planned, result: schema.Result) -> Record:
    return {
        "image_id": one.image_id,
        "caption": result.text,
        "phrases": [phrase.text or "" for phrase in result.phrases],
        "pred_masks": [_rle(phrase.mask) for phrase in result.phrases],
    }


def _refseg(one: Planned, result: schema.Result) -> Record:
    return [
        {
            "image_id": one.image_id,
            **about,
            "pred_masks": [_rle(result.phrases[n].mask) for n in answer.phrases],
        }
        for about, answer in zip(one.about, result.answers, strict=True)
    ]


def _region_captions(one: Planned, result: schema.Result) -> Record:
    return [
        {"image_id": one.image_id, **about, "caption": answer.text}
        for about, answer in zip(one.about, result.answers, strict=True)
    ]


def _answer(one: Planned, result: schema.Result) -> Record:
    (about,) = one.about
    return {"image_id": one.image_id, **about, "answer": result.text}


def _caption(one: Planned, result: schema.Result) -> Record:
    return {"image_id": one.image_id, "caption": result.text}


def _rle(mask: schema.Mask) -> dict[str, Any]:
    return {"size": list(mask.size), "counts": mask.counts}
