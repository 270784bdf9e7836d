"""What a ground truth asks of its images, as jobs: expressions to segment, regions to describe, questions to answer.

Grounded captions and captions are asked of each image that it names.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from services.cli.asking import Kind
from services.cli.batch import Done, Request
from services.cli.packages import needed
from shared import images
from shared.errors import InvalidInput
from shared.tasks import Ask, Box, Limits, Task, validate_question, validate_text

if TYPE_CHECKING:
    from training.metrics.entries import Entry

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
_TOGETHER = {Kind.REFSEG: 64, Kind.REGION_CAPTION: 64, Kind.VQA: 1, Kind.GCG: 1, Kind.CAPTION: 1}
"""Entries a job: as many expressions or regions as a service takes by default, and one of what it takes one of."""

_LIMITS = Limits()
_REPAIR = "Repair the entry or leave it out."

Value = TypeVar("Value")


@dataclass(frozen=True)
class Planned:
    """One job and what its file will say. `about`: what each answer's entry repeats of the ground truth's."""

    request: Request
    image_id: str
    about: tuple[Mapping[str, Any], ...] = ()


def read(kind: Kind, folder: Path, truth: Path, split: str | None = None) -> Iterator[Planned | Done]:
    """The jobs, and as failed what no service would answer: a service refuses a job for the least of its questions.

    split: of a ground truth that holds several. An image's entries are cut into jobs as they stand in the file, so that
    a job's name does not depend on which of them can be answered. Raises InvalidInput for what is no ground truth of
    this folder.
    """
    by_image: dict[str, list[Entry]] = {}
    for entry in _distinct(kind, _entries(kind, truth, split)):
        by_image.setdefault(entry.image, []).append(entry)
    for image_id, entries in by_image.items():
        path = _find(folder, image_id, entries[0])
        # A size that cannot be read is for the service to complain of, as it does of other images.
        size = cache(partial(images.upright_size, path))
        for number, together in enumerate(_chunks(entries, _TOGETHER[kind]), start=1):
            # `quote` leaves no + in the name of an image, so that no other image's file is called so.
            name = quote(image_id, "") + (f"+{number}" if number > 1 else "")
            ask, about, faults = _asked(kind, together, size)
            request = Request(path, name, ask)
            yield from (Done(request, error=fault) for fault in faults)
            if about:
                yield Planned(request, image_id, about)


Asked = tuple[Ask, tuple[Mapping[str, Any], ...], list[InvalidInput]]
"""What is asked, what its answers' entries repeat, and what is wrong with the entries that are not asked."""


Size = Callable[[], tuple[int, int] | None]
"""Width and height of an upright image; None where it cannot be read."""


def _entries(kind: Kind, truth: Path, split: str | None) -> list["Entry"]:
    """The ground truth's, as evaluation reads them."""
    with needed("evaluation"):
        from training.metrics import expressions, gcg
        from training.metrics.entries import coco_entries
    match kind:
        case Kind.GCG:
            return gcg.read_captions(truth, split)
        case Kind.REFSEG:
            return expressions.read_truth(truth, split)
        case _ if split is not None:
            raise InvalidInput("--split", f"{kind} takes no --split.", "Leave it out.")
    return coco_entries(truth)


def _distinct(kind: Kind, entries: list["Entry"]) -> list["Entry"]:
    """One for each answer that evaluation takes: references of one caption are entries of their own, and one question.

    Raises InvalidInput for a region that is in two places.
    """
    if kind in (Kind.REFSEG, Kind.VQA):
        return entries
    with needed("evaluation"):
        from training.metrics.text import key_of
    first: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        other = first.setdefault(key_of(entry), entry)
        if kind is Kind.REGION_CAPTION and entry.bbox() != other.bbox():
            raise entry.wrong(
                f"It is the region of {other.place}, with another bbox.", "Give each region a region_id of its own."
            )
    return list(first.values())


def _asked(kind: Kind, entries: list["Entry"], size: Size) -> Asked:
    match kind:
        case Kind.REFSEG:
            return _expressions(entries)
        case Kind.REGION_CAPTION:
            return _regions(entries, size)
        case Kind.VQA:
            return _question(entries, size)
        case Kind.GCG | Kind.CAPTION:
            return Ask(kind.task), ({},), []


def _expressions(entries: list["Entry"]) -> Asked:
    good, faults = _parted(entries, _expression)
    texts = tuple(text for _, text in good)
    return Ask(Task.REFSEG, expressions=texts), tuple({"expression": text} for text in texts), faults


def _regions(entries: list["Entry"], size: Size) -> Asked:
    good, faults = _parted(entries, lambda entry: _clipped(entry, size()))
    about = tuple({"region_id": entry.data["region_id"]} if "region_id" in entry.data else {} for entry, _ in good)
    return Ask(Task.REGION_CAPTION, boxes=tuple(box for _, box in good)), about, faults


def _question(entries: list["Entry"], size: Size) -> Asked:
    """Of the one entry; its answer's repeats all that tells questions apart."""
    (entry,) = entries
    good, faults = _parted(entries, lambda entry: _answerable(entry, size))
    repeated = {name: entry.data[name] for name in ("question_id", "question", "bbox") if name in entry.data}
    return good[0][1] if good else Ask(Task.VQA), (repeated,) * len(good), faults


def _parted(
    entries: list["Entry"], judge: Callable[["Entry"], Value | InvalidInput]
) -> tuple[list[tuple["Entry", Value]], list[InvalidInput]]:
    """Entries with what is asked by them, and the faults of the others."""
    good: list[tuple[Entry, Value]] = []
    faults: list[InvalidInput] = []
    for entry in entries:
        judged = judge(entry)
        if isinstance(judged, InvalidInput):
            faults.append(judged)
        else:
            good.append((entry, judged))
    return good, faults


def _expression(entry: "Entry") -> str | InvalidInput:
    text = entry.text("expression", "sentence")
    try:
        validate_text("expression", text, _LIMITS)
    except InvalidInput as error:
        return entry.wrong(error.detail, _REPAIR)
    return text


def _answerable(entry: "Entry", size: Size) -> Ask | InvalidInput:
    """The question, about the box if the entry has one."""
    text = entry.text("question")
    box = None if entry.data.get("bbox") is None else _clipped(entry, size())
    if isinstance(box, InvalidInput):
        return box
    boxes = () if box is None else (box,)
    try:
        validate_question(text, len(boxes), _LIMITS)
    except InvalidInput as error:
        return entry.wrong(error.detail, _REPAIR)
    return Ask(Task.VQA, text, boxes)


def _clipped(entry: "Entry", size: tuple[int, int] | None) -> Box | InvalidInput:
    """What of the entry's box is inside the image: rounded and padded boxes of real sets reach beyond its edge."""
    x, y, box_width, box_height = entry.bbox()
    x1, y1, x2, y2 = box = (x, y, x + box_width, y + box_height)
    if size is None:
        return box
    width, height = size
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    if x1 < x2 and y1 < y2:
        return x1, y1, x2, y2
    return entry.wrong(f"Nothing of its bbox is inside the image ({width} × {height}).", _REPAIR)


def _find(folder: Path, image_id: str, entry: "Entry") -> Path:
    """The entry's file by its `file_name`, else the one that is called as the image."""
    named = entry.data.get("file_name")
    candidates = [folder / named] if isinstance(named, str) else [folder / f"{image_id}{ending}" for ending in ENDINGS]
    found = [path for path in candidates if path.is_file()]
    if not found:
        raise entry.wrong(f"There is no image {candidates[0]}.", "Name the folder with the set's images by --images.")
    if len(found) > 1:
        raise entry.wrong(f"Both {found[0]} and {found[1]} are called so.", "Give the entry a file_name.")
    return found[0]


def _chunks(entries: list["Entry"], size: int) -> Iterator[list["Entry"]]:
    left = iter(entries)
    while some := list(islice(left, size)):
        yield some
