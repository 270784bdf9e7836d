"""How urgent a job is."""

from enum import StrEnum


class Priority(StrEnum):
    """interactive: somebody waits for it; bulk: one of many, overtaken by every interactive one."""

    INTERACTIVE = "interactive"
    BULK = "bulk"

    @property
    def rank(self) -> int:
        """As the queue keeps it; the higher goes first."""
        return _RANKS[self]

    @classmethod
    def of(cls, rank: int) -> "Priority":
        return cls.INTERACTIVE if rank >= _RANKS[cls.INTERACTIVE] else cls.BULK


_RANKS = {Priority.INTERACTIVE: 10, Priority.BULK: 0}


def is_urgent(rank: int) -> bool:
    """Whether a job of this rank goes before all that are not urgent, wherever jobs wait."""
    return rank >= Priority.INTERACTIVE.rank
