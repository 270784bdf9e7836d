"""A bound on streams that stay open: each holds a connection and memory for as long as its client likes."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Overloaded

_BUSY_SECONDS = 10.0


class Streams:
    """How many streams this process has open, of how many it may."""

    def __init__(self, most: int) -> None:
        self._most, self.open = most, 0

    def require_room(self) -> None:
        """Raises Overloaded. Streams that begin at once may pass the limit by a few."""
        if self.open >= self._most:
            raise Overloaded(_BUSY_SECONDS, f"This gateway has {self._most:,} event streams open, which is its most.")

    @contextmanager
    def one(self) -> Iterator[None]:
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1
