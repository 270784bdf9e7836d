"""`glamm predict`: a set of images through a running service, into the files that `glamm evaluate` reads.

A file an image, each written when it is whole: a run that was stopped goes on with what has no file yet. Which
questions are asked of an image comes from the ground truth's own files, which `training.metrics` reads.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from services.cli import batch
from services.cli.asking import Kind
from services.cli.client import GlammClient
from shared import schema
from shared.errors import InvalidInput
from shared.tasks import Ask, Box, Task

if TYPE_CHECKING:
    from training.metrics.entries import Entry

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
TOGETHER = 64
"""Expressions or regions a job: as many as a service takes by default."""

Record = list[dict[str, Any]] | dict[str, Any]


@dataclass(frozen=True)
class Planned:
    """One job and what its file will say. `about`: what each answer's entry repeats of the ground truth's."""

    request: batch.Request
    image_id: str
    about: tuple[Mapping[str, Any], ...] = ()


def plan(kind: Kind, images: Path, truth: Path | None) -> list[Planned]:
    """A job for each image of the folder, or for what the ground truth asks of it. Raises InvalidInput."""
    if not images.is_dir():
        raise InvalidInput("--images", f"{images} is no folder.", "Name the folder with the images.")
    if kind in (Kind.GCG, Kind.CAPTION):
        found = sorted(path for path in images.iterdir() if path.suffix.lower() in ENDINGS)
        if not found:
            raise InvalidInput("--images", f"{images} holds no PNG, JPEG or WebP.", "Name the folder with the images.")
        return [Planned(batch.Request(path, quote(path.stem, ""), Ask(Task(kind.value))), path.stem) for path in found]
    if truth is None:
        raise InvalidInput("--ground-truth", f"{kind} asks what a file says.", "Name the ground truth's file.")
    return list(_asked(kind, images, truth))


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


def _asked(kind: Kind, images: Path, truth: Path) -> Iterator[Planned]:
    from training.metrics.entries import coco_entries

    by_image: dict[str, list[Entry]] = {}
    for entry in coco_entries(truth):
        by_image.setdefault(_image_id(entry), []).append(entry)
    ask: Callable[[list[Entry]], tuple[Ask, tuple[Mapping[str, Any], ...]]]
    ask = _expressions if kind is Kind.REFSEG else _regions
    for image_id, entries in by_image.items():
        path = _find(images, image_id, entries[0])
        for number, together in enumerate(_chunks(entries, TOGETHER)):
            name = quote(image_id, "") + (f"-{number + 1}" if number else "")
            asked, about = ask(together)
            yield Planned(batch.Request(path, name, asked), image_id, about)


def _image_id(entry: "Entry") -> str:
    return entry.image if "image_id" in entry.data or "file_name" not in entry.data else entry.key("file_name")


def _find(images: Path, image_id: str, entry: "Entry") -> Path:
    """The entry's file by its `file_name`, else the one that is called as the image."""
    named = entry.data.get("file_name")
    candidates = [images / named] if isinstance(named, str) else [images / f"{image_id}{ending}" for ending in ENDINGS]
    for path in candidates:
        if path.is_file():
            return path
    raise entry.wrong(f"There is no image {candidates[0]}.", "Name the folder with the set's images by --images.")


def _expressions(entries: list["Entry"]) -> tuple[Ask, tuple[Mapping[str, Any], ...]]:
    texts = [entry.text("expression", "sentence") for entry in entries]
    about = tuple({"expression": text} for text in texts)
    return Ask(Task.REFSEG, expressions=tuple(texts)), about


def _regions(entries: list["Entry"]) -> tuple[Ask, tuple[Mapping[str, Any], ...]]:
    about = tuple({"region_id": entry.data["region_id"]} if "region_id" in entry.data else {} for entry in entries)
    return Ask(Task.REGION_CAPTION, boxes=tuple(map(_box, entries))), about


def _box(entry: "Entry") -> Box:
    """COCO's `bbox`, x, y, width and height in pixels → xyxy."""
    match entry.data.get("bbox"):
        case [int() | float() as x, int() | float() as y, int() | float() as width, int() | float() as height]:
            return float(x), float(y), float(x + width), float(y + height)
    raise entry.wrong("bbox is missing or not four numbers.", "Give each region its bbox: [x, y, width, height].")


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


def _chunks(entries: list["Entry"], size: int) -> Iterator[list["Entry"]]:
    left = iter(entries)
    while some := list(islice(left, size)):
        yield some
