"""`glamm ps` and `glamm jobs`: batches, jobs of one, or all jobs, a row each."""

import re
from collections.abc import Iterable, Sequence

from rich.text import Text

from services.cli.bulk import watching
from services.cli.lists import Listing, moment
from shared import schema
from shared.errors import PROBLEM_TYPE, InvalidInput, problem_slugs
from shared.priority import Priority

_OUTCOME = ("task", "state", "why")
_TYPE = re.compile(f"(?:{PROBLEM_TYPE})?([a-z0-9-]+)")


def error_type(error: str, problems: Sequence[schema.BatchProblem]) -> str:
    """The type of problem that is meant: by its title among those of a batch, by the type, or by what it ends with.

    Raises InvalidInput for what is none of these: a title that is misspelt would find nothing, and look as if all were
    well.
    """
    for problem in problems:
        if error.casefold() == problem.title.casefold():
            return problem.type
    meant = _TYPE.fullmatch(error)
    if meant and (PROBLEM_TYPE + meant[1] in {problem.type for problem in problems} or meant[1] in problem_slugs()):
        return PROBLEM_TYPE + meant[1]
    titles = ", ".join(f'"{problem.title}"' for problem in problems)
    raise InvalidInput(
        "--error",
        f'"{error}" is neither a problem of the batch nor a type of problem.',
        f"Use one of: {titles}, or a type such as expired." if titles else "Leave it out: no job of the batch failed.",
    )


def of_batch(jobs: Iterable[schema.BatchJob]) -> Listing:
    rows = [(f"{job.line:,}", str(job.id), job.custom_id or "", *_outcome(job)) for job in jobs]
    return Listing(("line", "id", "custom_id", *_OUTCOME), rows)


def of_all(jobs: Iterable[schema.JobSummary]) -> Listing:
    """With what each is part of."""

    def whole(job: schema.JobSummary) -> str:
        return "batch" if job.links.batch else f"turn {job.turn}" if job.turn else ""

    rows = [(str(job.id), moment(job.created_at), whole(job), *_outcome(job)) for job in jobs]
    return Listing(("id", "made", "part of", *_OUTCOME), rows)


def of_batches(batches: Iterable[schema.Batch]) -> Listing:
    def far(batch: schema.Batch) -> str:
        line = watching.line(batch)
        return line if batch.priority is Priority.BULK else f"{batch.priority}, {line}"

    rows = [(str(batch.id), batch.name, moment(batch.created_at), far(batch)) for batch in batches]
    return Listing(("id", "name", "made", "how far"), rows)


def _outcome(job: schema.BatchJob | schema.JobSummary) -> tuple[str, Text, str]:
    """Its task, its state, and why it failed."""
    state = Text(job.state.value, style=watching.STYLES.get(job.state, ""))
    return job.task.value, state, job.error.detail if job.error else ""
