"""What a gateway keeps in mind of each owner, in memory that does not grow with everybody who ever came."""

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

SWEEP_EVERY = 10_000

Kept = TypeVar("Kept")


class ByOwner(dict[UUID, Kept]):
    """idle: whether what is kept says no more, at that time, than nothing would."""

    def __init__(self, idle: Callable[[Kept, float], bool]) -> None:
        super().__init__()
        self._idle = idle
        self._taken = 0

    def taken(self, now: float) -> None:
        """To be told of every take. After each 10,000 of them, owners that are idle are forgotten."""
        self._taken += 1
        if self._taken % SWEEP_EVERY == 0:
            for owner_id in [owner_id for owner_id, kept in self.items() if self._idle(kept, now)]:
                del self[owner_id]
