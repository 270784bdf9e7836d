"""What a ground truth asks of its images, as jobs: expressions to segment, regions to describe, questions to answer."""

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
_TOGETHER = {Kind.REFSEG: 64, Kind.REGION_CAPTION: 64, Kind.VQA: 1}
"""Entries a job: as many expressions or regions as a service takes by default, and the one question that it takes."""

_LIMITS = Limits()
_REPAIR = "Repair the entry or leave it out."

Value = TypeVar("Value")


@dataclass(frozen=True)
class Planned:
    """One job and what its file will say. `about`: what each answer's entry repeats of the ground truth's."""

    request: Request
    image_id: str
    about: tuple[Mapping[str, Any], ...] = ()


def read(kind: Kind, folder: Path, truth: Path) -> Iterator[Planned | Done]:
    """The jobs, and as failed what no service would answer: a service refuses a job for the least of its questions.

    An image's entries are cut into jobs as they stand in the file, so that a job's name does not depend on which of
    them can be answered. Raises InvalidInput for what is no ground truth of this folder.
    """
    with needed("evaluation"):
        from training.metrics.entries import coco_entries
    by_image: dict[str, list[Entry]] = {}
    for entry in coco_entries(truth):
        by_image.setdefault(entry.image, []).append(entry)
    asked = {Kind.REFSEG: _expressions, Kind.REGION_CAPTION: _regions, Kind.VQA: _question}[kind]
    for image_id, entries in by_image.items():
        path = _find(folder, image_id, entries[0])
        # A size that cannot be read is for the service to complain of, as it does of other images.
        size = cache(partial(images.upright_size, path))
        for number, together in enumerate(_chunks(entries, _TOGETHER[kind]), start=1):
            # `quote` leaves no + in the name of an image, so that no other image's file is called so.
            name = quote(image_id, "") + (f"+{number}" if number > 1 else "")
            ask, about, faults = asked(together, size)
            request = Request(path, name, ask)
            yield from (Done(request, error=fault) for fault in faults)
            if about:
                yield Planned(request, image_id, about)


Asked = tuple[Ask, tuple[Mapping[str, Any], ...], list[InvalidInput]]
"""What is asked, what its answers' entries repeat, and what is wrong with the entries that are not asked."""


Size = Callable[[], tuple[int, int] | None]
"""Width and height of an upright image; None where it cannot be read."""


def _expressions(entries: list["Entry"], _size: Size) -> Asked:
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
