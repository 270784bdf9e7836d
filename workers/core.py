"""What an engine runs."""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Core(Protocol[In_contra, Out_co]):
    """Items come in under a key; a step returns those it finished, each with its output.

    A core that works on fewer items at a time than it was given works on urgent ones first.

    What `admit` raises, or `step` returns in place of an output, is the fault of that item. What `step` raises may be
    the fault of any item admitted, or of their number: the engine drops them all and finds out. `drop` forgets an item
    and takes unknown keys.
    """

    def admit(self, key: int, item: In_contra, urgent: bool, /) -> None: ...

    def step(self) -> Sequence[tuple[int, Out_co | Exception]]: ...

    def drop(self, key: int, /) -> None: ...

    def shrink(self) -> bool:
        """Hold less of what is admitted in memory at a time, from now on; False where that cannot be."""
        ...


class BatchCore(Generic[In, Out]):
    """A core that finishes in one step: a function from a batch to as many outputs."""

    def __init__(self, run: Callable[[Sequence[In]], Sequence[Out]]) -> None:
        self._run = run
        self._items: dict[int, In] = {}

    def admit(self, key: int, item: In, _urgent: bool, /) -> None:
        self._items[key] = item

    def step(self) -> Sequence[tuple[int, Out | Exception]]:
        batch, self._items = self._items, {}
        return list(zip(batch, self._run(list(batch.values())), strict=True))

    def drop(self, key: int, /) -> None:
        self._items.pop(key, None)

    def shrink(self) -> bool:
        """A batch is as large as what was admitted."""
        return False
