"""What a ground truth asks of its images: expressions to segment or regions to describe, as jobs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from services.cli.asking import Kind
from services.cli.batch import Done, Request
from services.cli.packages import needed
from shared import images
from shared.errors import InvalidInput
from shared.tasks import Ask, Box, Limits, Task, validate_text

if TYPE_CHECKING:
    from training.metrics.entries import Entry

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
TOGETHER = 64
"""Expressions or regions a job: as many as a service takes by default."""

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
        by_image.setdefault(_image_id(entry), []).append(entry)
    asked = _expressions if kind is Kind.REFSEG else _regions
    for image_id, entries in by_image.items():
        path = _find(folder, image_id, entries[0])
        for number, together in enumerate(_chunks(entries, TOGETHER), start=1):
            # `quote` leaves no + in the name of an image, so that no other image's file is called so.
            name = quote(image_id, "") + (f"+{number}" if number > 1 else "")
            ask, about, faults = asked(path, together)
            request = Request(path, name, ask)
            yield from (Done(request, error=fault) for fault in faults)
            if about:
                yield Planned(request, image_id, about)


Asked = tuple[Ask, tuple[Mapping[str, Any], ...], list[InvalidInput]]
"""What is asked, what its answers' entries repeat, and what is wrong with the entries that are not asked."""


def _expressions(_path: Path, entries: list["Entry"]) -> Asked:
    good, faults = _parted(entries, _expression)
    texts = tuple(text for _, text in good)
    return Ask(Task.REFSEG, expressions=texts), tuple({"expression": text} for text in texts), faults


def _regions(path: Path, entries: list["Entry"]) -> Asked:
    # A size that cannot be read is for the service to complain of, as it does of other images.
    size = images.upright_size(path)
    good, faults = _parted(entries, lambda entry: _box(entry) if size is None else _clipped(entry, _box(entry), size))
    about = tuple({"region_id": entry.data["region_id"]} if "region_id" in entry.data else {} for entry, _ in good)
    return Ask(Task.REGION_CAPTION, boxes=tuple(box for _, box in good)), about, faults


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


def _box(entry: "Entry") -> Box:
    """COCO's `bbox`, x, y, width and height in pixels → xyxy."""
    match entry.data.get("bbox"):
        case [int() | float() as x, int() | float() as y, int() | float() as width, int() | float() as height]:
            return float(x), float(y), float(x + width), float(y + height)
    raise entry.wrong("bbox is missing or not four numbers.", "Give each region its bbox: [x, y, width, height].")


def _clipped(entry: "Entry", box: Box, size: tuple[int, int]) -> Box | InvalidInput:
    """What of the box is inside the image: rounded and padded boxes of real sets reach beyond its edge."""
    width, height = size
    x1, y1, x2, y2 = max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))
    if x1 < x2 and y1 < y2:
        return x1, y1, x2, y2
    return entry.wrong(f"Nothing of its bbox is inside the image ({width} × {height}).", _REPAIR)


def _image_id(entry: "Entry") -> str:
    return entry.image if "image_id" in entry.data or "file_name" not in entry.data else entry.key("file_name")


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
