"""`glamm ps` and `glamm jobs`: batches, jobs of one, or all jobs, a row each."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.table import Column, Table
from rich.text import Text

from services.cli.bulk import watching
from shared import schema
from shared.errors import PROBLEM_TYPE, InvalidInput
from shared.priority import Priority

_TYPE = re.compile(f"(?:{PROBLEM_TYPE})?([a-z0-9-]+)")


def error_type(error: str, problems: Sequence[schema.BatchProblem]) -> str:
    """The type of problem that is meant: by its title among those of a batch, by the type, or by what it ends with.

    Raises InvalidInput for what is none of these: a title that is misspelt would find nothing, and look as if all were
    well.
    """
    for problem in problems:
        if error.casefold() == problem.title.casefold():
            return problem.type
    if meant := _TYPE.fullmatch(error):
        return PROBLEM_TYPE + meant[1]
    titles = ", ".join(f'"{problem.title}"' for problem in problems)
    raise InvalidInput(
        "--error",
        f'"{error}" is neither a problem of the batch nor a type of problem.',
        f"Use one of: {titles}, or a type such as expired." if titles else "Leave it out: no job of the batch failed.",
    )


def table(jobs: Iterable[schema.BatchJob]) -> Table:
    shown = Table("line", _whole("id"), "custom_id", "task", _whole("state"), "why", box=None)
    for job in jobs:
        shown.add_row(f"{job.line:,}", str(job.id), Text(job.custom_id or ""), *_outcome(job))
    return shown


def table_of_batches(batches: Iterable[schema.Batch]) -> Table:
    shown = Table(_whole("id"), "name", Column("made", overflow="fold"), Column("how far", min_width=24), box=None)
    for batch in batches:
        far = watching.line(batch) if batch.priority is Priority.BULK else f"{batch.priority}, {watching.line(batch)}"
        shown.add_row(str(batch.id), Text(batch.name), _time(batch.created_at), far)
    return shown


def table_of_all(jobs: Iterable[schema.JobSummary]) -> Table:
    """With what each is part of."""
    shown = Table(_whole("id"), Column("made", overflow="fold"), "part of", "task", _whole("state"), "why", box=None)
    for job in jobs:
        whole = "batch" if job.links.batch else f"turn {job.turn}" if job.turn else ""
        shown.add_row(str(job.id), _time(job.created_at), whole, *_outcome(job))
    return shown


def _outcome(job: schema.BatchJob | schema.JobSummary) -> tuple[str, Text, Text]:
    """Its task, its state, and why it failed."""
    state = Text(job.state.value, style=watching.STYLES.get(job.state, ""))
    return job.task.value, state, Text(job.error.detail if job.error else "")


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _whole(name: str) -> Column:
    """For what is useless in parts; the other columns make room."""
    return Column(name, no_wrap=True)
