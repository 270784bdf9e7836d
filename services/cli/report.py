"""Shows a batch while it runs and each annotation as it is finished."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.progress import TaskID, TimeRemainingColumn
from rich.text import Text

from services.cli import terminal
from services.cli.batch import Done, News, Request
from services.cli.client import Refused
from services.cli.progress import bars
from shared.errors import GlammError, InvalidInput
from shared.tasks import Task

OK, JOB_FAILED, BAD_INPUT = 0, 1, 2


@dataclass
class Summary:
    """How the requests of a batch ended, counted as they end; no result is kept.

    blamed: those of the failed that failed by their input.
    """

    succeeded: int = 0
    failed: int = 0
    blamed: int = 0

    def add(self, done: Done) -> None:
        if done.job is not None and done.job.result is not None:
            self.succeeded += 1
        else:
            self.failed += 1
            self.blamed += _blames_input(done)

    @property
    def exit_code(self) -> int:
        """2 when an input was refused, else 1 when a job failed, else 0."""
        if self.blamed:
            return BAD_INPUT
        return JOB_FAILED if self.failed else OK


def follow(news: Iterable[News], asked: Sequence[Request], out: Console, err: Console, *, as_json: bool) -> Summary:
    """Print each end as it comes: annotations on `out` (JSON, a line each, if asked), progress and faults on `err`."""
    summary = Summary()
    rows: dict[Request, TaskID] = {}
    with bars(err) as progress:
        total = progress.add_task("all images", total=len(asked), state="", visible=len(asked) > 1)
        for item in news:
            request = item.request
            if isinstance(item, Done):
                summary.add(item)
                if request in rows:
                    progress.remove_task(rows.pop(request))
                progress.advance(total)
                _print(item, out, err, as_json)
                continue
            if request not in rows:
                rows[request] = progress.add_task(request.path.name, total=1.0, state="")
            progress.update(rows[request], completed=item.progress, state=item.state)
    return summary


@dataclass(frozen=True)
class Bar:
    """How many requests of a task there are, and how many of them an earlier run has done."""

    total: int
    done: int = 0


def count(news: Iterable[News], totals: Mapping[Task, Bar], err: Console) -> dict[Task, Summary]:
    """A bar for all requests of a task, and each fault; returns how they ended."""
    summaries = {task: Summary() for task in totals}
    with bars(err, TimeRemainingColumn()) as progress:
        rows = {
            task: progress.add_task(task, total=bar.total, completed=bar.done, state="") for task, bar in totals.items()
        }
        for item in news:
            if isinstance(item, Done):
                task = item.request.ask.task
                summary = summaries[task]
                summary.add(item)
                progress.update(rows[task], advance=1, state=f"{summary.failed} failed" if summary.failed else "")
                if not item.files:
                    _print(item, err, err, as_json=False)
    return summaries


def _print(done: Done, out: Console, err: Console, as_json: bool) -> None:
    if done.job is not None and as_json:
        out.print(done.job.model_dump_json(), markup=False, highlight=False, soft_wrap=True)
    if done.job is not None and done.job.result is not None:
        if not as_json:
            _print_annotation(done, out)
        return
    err.print(Text(f"✗ {_short(done.request.path)}: {_fault(done)}", style="red"), soft_wrap=True)


def _print_annotation(done: Done, out: Console) -> None:
    assert done.job is not None
    heading = Text("✓ ", style="green").append(_short(done.request.path), style="default")
    heading.append("  ").append(terminal.timings(done.job))
    out.print(heading, soft_wrap=True)
    out.print(Padding(terminal.caption(done.job), (0, 0, 0, 2)))
    for path in done.files:
        out.print(Text(f"  → {_short(path)}", style="dim"), soft_wrap=True)


def _fault(done: Done) -> str:
    error = done.error
    if isinstance(error, GlammError):
        return terminal.problem_line(error.to_problem())
    if error is not None:
        where = "" if error.filename in (None, str(done.request.path)) else f"{error.filename}: "
        return where + (error.strerror or str(error))
    if done.job is not None and done.job.error is not None:
        return terminal.problem_line(done.job.error)
    return f"the job ended {done.job.state}" if done.job is not None else "nothing came back"


def _short(path: Path) -> str:
    """As seen from where the command was given."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _blames_input(done: Done) -> bool:
    if isinstance(done.error, Refused):
        return done.error.blames_the_request
    return isinstance(done.error, InvalidInput | OSError)
