"""How long work is watched: a function that hands the items on, one by one, and may count them on the way."""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Track(Protocol):
    def __call__(self, items: Sequence[Item], label: str) -> Iterable[Item]: ...


def unwatched(items: Sequence[Item], label: str) -> Iterable[Item]:
    return items
