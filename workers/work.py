"""What differs between the stages: where a run's input comes from and where its output goes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from sqlalchemy import Connection

from shared.jobs import Message, Run, Stage, Timing
from shared.transactions import Transactions

In = TypeVar("In")
Out = TypeVar("Out")
Record = TypeVar("Record")


@dataclass(frozen=True)
class Done(Generic[Record]):
    """The run's work was done before; nothing is left for the engine."""

    record: Record


class Work(ABC, Generic[In, Out, Record]):
    """One stage's way from a run to the engine's input, and from its output to the database.

    `fetch` and `keep` do the slow things, outside any transaction and on many threads at once; `complete` is short.
    """

    stage: ClassVar[Stage]

    def take_in(self, run: Run, transactions: Transactions) -> Run:
        """The run with its image, which an earlier stage or job has brought."""
        return run

    @abstractmethod
    def fetch(self, run: Run) -> In | Done[Record]:
        """The engine's input. Raises `FeaturesGone`, and `NotFound` when the image is no longer stored."""

    def size(self, fetched: In) -> int:
        """How many times the usual work of one job this is."""
        return 1

    def was_cached(self, fetched: In) -> bool:
        """Whether the image's own features were there already, and the engine has only something to add to them."""
        return False

    @abstractmethod
    def keep(self, run: Run, output: Out) -> Record:
        """Put the output where the next stage finds it; returns what is left to write into the database."""

    @abstractmethod
    def complete(self, conn: Connection, run: Run, record: Record, timing: Timing) -> Sequence[Message] | None:
        """Move the job on. The messages to send after the commit; None when the run has lost its job."""
