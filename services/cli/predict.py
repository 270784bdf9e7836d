"""`glamm predict`: a set of images through a running service, into the files that `glamm evaluate` reads.

A file an image, each written when it is whole: a run that was stopped goes on with what has no file yet. Which
questions are asked of an image comes from the ground truth's own files, see `questions`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from services.cli import batch, questions
from services.cli.asking import Kind
from services.cli.client import GlammClient
from services.cli.questions import ENDINGS, Planned
from shared import schema
from shared.errors import InvalidInput
from shared.tasks import Ask, Task

Record = list[dict[str, Any]] | dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """The jobs, each with a file of its own; and questions that failed already, since no service can answer them."""

    jobs: tuple[Planned, ...]
    impossible: tuple[batch.Done, ...] = ()


def plan(kind: Kind, images: Path, truth: Path | None) -> Plan:
    """A job for each image of the folder, or for what the ground truth asks of it. Raises InvalidInput."""
    if not images.is_dir():
        raise InvalidInput("--images", f"{images} is no folder.", "Name the folder with the images.")
    if kind in (Kind.GCG, Kind.CAPTION):
        ask = Ask(Task(kind.value))
        return Plan(tuple(Planned(batch.Request(path, quote(path.stem, ""), ask), path.stem) for path in _all(images)))
    if truth is None:
        raise InvalidInput("--ground-truth", f"{kind} asks what a file says.", "Name the ground truth's file.")
    jobs: list[Planned] = []
    impossible: list[batch.Done] = []
    for item in questions.read(kind, images, truth):
        if isinstance(item, Planned):
            jobs.append(item)
        else:
            impossible.append(item)
    return Plan(tuple(jobs), tuple(impossible))


def keeper(kind: Kind, planned: Iterable[Planned], out: Path) -> batch.Keep:
    """Writes each job's answers into its file."""
    by_request = {one.request: one for one in planned}
    record = {
        Kind.GCG: _gcg,
        Kind.CAPTION: lambda one, result: {"image_id": one.image_id, "caption": result.text},
        Kind.REFSEG: _refseg,
        Kind.REGION_CAPTION: _region_captions,
    }[kind]

    def write(_client: GlammClient, request: batch.Request, job: schema.Job) -> tuple[Path, ...]:
        assert job.result is not None
        path = target(out, request)
        batch.write_json(path, record(by_request[request], job.result))
        return (path,)

    return write


def target(out: Path, request: batch.Request) -> Path:
    return out / f"{request.name}.json"


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


def _rle(mask: schema.Mask) -> dict[str, Any]:
    return {"size": list(mask.size), "counts": mask.counts}
