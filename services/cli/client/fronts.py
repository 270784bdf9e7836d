"""What a client has to do for the calls that are declared for both: take their steps, and wait in its own way."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import httpx

from services.cli.client.pieces import Cutter
from services.cli.client.steps import Steps

T = TypeVar("T")
Item = TypeVar("Item")


class Front(Protocol):
    """What a call needs to know of the client that makes it. patience: seconds for which it keeps trying."""

    url: str
    patience: float


class Blocking(ABC):
    """Calls return when they are done."""

    @abstractmethod
    def run(self, steps: Steps[T]) -> T:
        """Take the steps of a call, one by one; its result."""

    @abstractmethod
    def stream(self, opened: Steps[httpx.Response], cutter: Cutter[Item]) -> Iterator[Item]:
        """The pieces of an answer that the steps open."""

    @abstractmethod
    def pages(self, page: Callable[[str | None], Steps[Any]], items: Callable[[Any], Sequence[Item]]) -> Iterator[Item]:
        """The entries of page after page. page: the steps to the one at a cursor."""


class Awaited(ABC):
    """Calls are awaited."""

    @abstractmethod
    async def run(self, steps: Steps[T]) -> T:
        """Take the steps of a call, one by one; its result."""

    @abstractmethod
    def stream(self, opened: Steps[httpx.Response], cutter: Cutter[Item]) -> AsyncIterator[Item]:
        """The pieces of an answer that the steps open."""

    @abstractmethod
    def pages(
        self, page: Callable[[str | None], Steps[Any]], items: Callable[[Any], Sequence[Item]]
    ) -> AsyncIterator[Item]:
        """The entries of page after page. page: the steps to the one at a cursor."""
