"""`glamm watch`: a batch on its way, as a table in a terminal and as a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from services.cli.client import GlammClient
from services.cli.terminal import plural, say
from shared import schema
from shared.states import State

LOOK_SECONDS = 1.0
LINE_SECONDS = 10.0

STYLES = {State.SUCCEEDED: "green", State.FAILED: "red", State.CANCELED: "yellow"}


class View(Protocol):
    def show(self, batch: schema.Batch) -> None:
        """The batch as it is now."""


def watch(client: GlammClient, batch_id: UUID, err: Console, every: float = LOOK_SECONDS) -> schema.Batch:
    """The batch once no job of it is left; on the way it is shown on `err`."""
    try:
        with _view(err) as view:
            while True:
                batch = client.batch(batch_id)
                view.show(batch)
                if batch.state == "finished":
                    return batch
                time.sleep(every)
    except KeyboardInterrupt:
        say(err, f"The batch goes on: `glamm watch {batch_id}` looks again, `glamm cancel {batch_id}` ends it.")
        raise


def succeeded(batch: schema.Batch) -> bool:
    """Whether every job of it has a result."""
    return batch.counts[State.SUCCEEDED] == batch.jobs


def line(batch: schema.Batch) -> str:
    """How far it is."""
    done = sum(count for state, count in batch.counts.items() if state.finished)
    parts = [f"{batch.state}: {done:,} of {plural(batch.jobs, 'job')} ({batch.progress:.0%})"]
    parts += [f"{batch.counts[state]:,} {state}" for state in (State.FAILED, State.CANCELED) if batch.counts[state]]
    parts += [f"{plural(batch.invalid_lines, 'line')} left out"] if batch.invalid_lines else []
    return ", ".join([*parts, *_pace(batch)])


def faults(batch: schema.Batch) -> Table | None:
    """Why jobs failed, the most frequent first."""
    if not batch.problems:
        return None
    table = Table("failed", "why", "first, line", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for problem in batch.problems:
        why = Text(problem.title, style="red").append(f": {problem.detail}", style="default")
        table.add_row(f"{problem.jobs:,}", why, f"{problem.line:,}")
    return table


def duration(seconds: float) -> str:
    """As people say it: `45 s`, `12 min`, `3 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _pace(batch: schema.Batch) -> list[str]:
    if batch.state == "finished":
        return []
    left = [] if batch.eta_seconds is None else [f"{duration(batch.eta_seconds)} left"]
    return [f"{batch.rate:.3g} jobs/s", *left]


def picture(batch: schema.Batch) -> RenderableType:
    """All that is known of a batch on its way."""
    counts = Table(*(state.value for state in State), box=None, header_style="dim", padding=(0, 2, 0, 0))
    counts.add_row(*(Text(f"{batch.counts[state]:,}", style=STYLES.get(state, "")) for state in State))
    heading = Text(batch.name or str(batch.id), style="bold").append(f"  {line(batch)}", style="default")
    # By itself a bar does not end its line.
    bar = Padding(ProgressBar(total=1.0, completed=batch.progress, width=48), 0)
    table = faults(batch)
    return Group(heading, bar, counts, *([] if table is None else [table]))


class _Picture:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, batch: schema.Batch) -> None:
        self._live.update(picture(batch), refresh=True)


class _Lines:
    """The first and the last, and in between those that tell something new, a while apart."""

    def __init__(self, err: Console) -> None:
        self._err = err
        self._said, self._at = "", 0.0

    def show(self, batch: schema.Batch) -> None:
        told, now = line(batch), time.monotonic()
        due = not self._said or batch.state == "finished" or now - self._at >= LINE_SECONDS
        if due and told != self._said:
            say(self._err, f"{batch.id} {told}")
            self._said, self._at = told, now


@contextmanager
def _view(err: Console) -> Iterator[View]:
    if not err.is_terminal:
        yield _Lines(err)
        return
    with Live(console=err, auto_refresh=False) as live:
        yield _Picture(live)
