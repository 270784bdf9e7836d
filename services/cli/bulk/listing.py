"""`glamm jobs`: the jobs of a batch, a row each."""

from collections.abc import Iterable

from rich.table import Column, Table
from rich.text import Text

from services.cli.bulk.watching import STYLES
from shared import schema
from shared.errors import PROBLEM_TYPE


def error_type(error: str, problems: Iterable[schema.BatchProblem]) -> str:
    """The type of problem that is meant: by its title among those of a batch, by the type, or by what it ends with."""
    by_title = {problem.title.casefold(): problem.type for problem in problems}
    return by_title.get(error.casefold(), error if ":" in error else PROBLEM_TYPE + error)


def table(jobs: Iterable[schema.BatchJob]) -> Table:
    shown = Table("line", Column("id", min_width=36), "custom_id", "task", "state", "why", box=None)
    for job in jobs:
        state = Text(job.state.value, style=STYLES.get(job.state, ""))
        why = Text(job.error.detail if job.error else "")
        shown.add_row(f"{job.line:,}", str(job.id), Text(job.custom_id or ""), job.task.value, state, why)
    return shown
