"""Predictions beside what they answer in the ground truth: found by a key, in order where several have the same."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from shared.errors import InvalidInput
from training.metrics.entries import Entry, read_entries

Key = tuple[str, ...]
"""An image and what tells its entries apart, the part that people know it by first."""

Wanted = TypeVar("Wanted")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Form(Generic[Wanted, Found]):
    """How the entries of a task are read. key and noun tell them apart; nothing: what a missing prediction said."""

    noun: str
    key: Callable[[Entry], Key]
    wanted: Callable[[Entry], Wanted]
    found: Callable[[Entry, Wanted], Found]
    nothing: Found


def read_pairs(
    form: Form[Wanted, Found], predictions: Path, truth: Path, entries: Iterable[Entry]
) -> tuple[list[tuple[Found, Wanted]], int]:
    """(found, wanted) of every entry of the ground truth; and how many had no prediction. truth: where they are from.

    Entries of one key take its predictions in order, and the last of them again for those that are left.
    """
    wanted: dict[Key, list[Wanted]] = {}
    for entry in entries:
        wanted.setdefault(form.key(entry), []).append(form.wanted(entry))
    if not wanted:
        raise InvalidInput(str(truth), f"It has no {form.noun}s.", "See docs/evaluation.md for the form.")
    found: dict[Key, list[Found]] = {}
    for entry in read_entries(predictions):
        key = form.key(entry)
        image, name, *_ = key
        if key not in wanted:
            raise entry.wrong(
                f"Image {image} has no {form.noun} {name[:60]!r} in the ground truth.",
                "Name predictions and truth of one split.",
            )
        said = found.setdefault(key, [])
        if len(said) == len(wanted[key]):
            raise entry.wrong(f"Image {image} has too many predictions of {name[:60]!r}.", "Keep one.")
        said.append(form.found(entry, wanted[key][len(said)]))
    missing = sum(len(there) for key, there in wanted.items() if key not in found)
    pairs = []
    for key, there in wanted.items():
        said = found.get(key, [form.nothing])
        pairs += [(said[min(n, len(said) - 1)], each) for n, each in enumerate(there)]
    return pairs, missing
