"""Those who wait for places: the urgent before all others, equals in the order in which they came."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """Not safe for several threads at once."""

    def __init__(self) -> None:
        self._urgent: deque[T] = deque()
        self._others: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def __iter__(self) -> Iterator[T]:
        """In the order of their turns."""
        return chain(self._urgent, self._others)

    def join(self, entry: T, urgent: bool) -> None:
        (self._urgent if urgent else self._others).append(entry)

    def remove(self, leaves: Callable[[T], bool]) -> None:
        """Let go of all entries for which `leaves` says so."""
        self._urgent = deque(entry for entry in self._urgent if not leaves(entry))
        self._others = deque(entry for entry in self._others if not leaves(entry))

    def take(self, free: int, reserve: int) -> list[T]:
        """Those whose turn it is: whoever is next for each of the `free` places, and urgent ones for `reserve` more.

        free: below 0 by as many of the reserve's places as are taken.
        """
        urgent = [self._urgent.popleft() for _ in range(min(len(self._urgent), free + reserve))]
        others = [self._others.popleft() for _ in range(min(len(self._others), free - len(urgent)))]
        return [*urgent, *others]

    def clear(self) -> None:
        self._urgent.clear()
        self._others.clear()
