"""Celery's threads pool, made to ask for the next message the moment a thread comes free."""

from typing import Any

from celery.concurrency.thread import ApplyResult, TaskPool


class WakingPool(TaskPool):  # type: ignore[misc]
    """The consumers stop asking while the threads are taken, see lanes.py.

    Celery's own pool does not tell them when that ends. They would notice at the next tick, up to a second later, and a
    busy worker would take no more messages a second than it has threads.
    """

    _hub: Any = None

    def register_with_event_loop(self, loop: Any) -> None:
        self._hub = loop

    def on_apply(self, *args: Any, **kwargs: Any) -> ApplyResult:
        result = super().on_apply(*args, **kwargs)
        result.f.add_done_callback(self._wake)
        return result

    def _wake(self, _finished: object) -> None:
        if self._hub is not None:
            self._hub.call_soon(_nothing)


def _nothing() -> None:
    """What the loop is woken for: its own round, which asks for messages when there is room."""
