"""How far long work is: bars in a terminal, and elsewhere a line now and then."""

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from services.cli.terminal import say

LINE_SECONDS = 10.0


def bars(console: Console, *more: ProgressColumn, clock: Callable[[], float] = time.monotonic) -> Progress:
    """Gone when finished. Each task has a field `state`, which is shown beside it. clock: in seconds."""
    if not console.is_terminal:
        return _Lines(console, clock)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[state]}", style="dim"),
        TimeElapsedColumn(),
        *more,
        console=console,
        transient=True,
        get_time=clock,
    )


class _Lines(Progress):
    """A line for all that is under way, with the first news LINE_SECONDS after the last; short work is quiet."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        super().__init__(console=console, get_time=clock, disable=True)
        self._said_at = clock()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        self._tell()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._tell()

    def _tell(self) -> None:
        now = self.get_time()
        if now - self._said_at < LINE_SECONDS:
            return
        under_way = [task for task in self.tasks if task.visible and task.remaining != 0]
        if under_way:
            say(self.console, ", ".join(map(_line, under_way)))
            self._said_at = now


def _line(task: Task) -> str:
    """A total of 1 is a whole that is done by shares."""
    total = task.total or 0.0
    done = f"{task.completed:.0%}" if total == 1 else f"{task.completed:,.0f}/{total:,.0f}"
    return " ".join(part for part in (task.description, done, task.fields["state"]) if part)
