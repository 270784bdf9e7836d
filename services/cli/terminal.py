"""A finished job as lines for a terminal: the caption with its phrases in the colours of the overlay."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from shared import legend, palette, schema
from shared.errors import Problem
from shared.states import Outcome

_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def caption(job: schema.Job) -> Text:
    """The answer of a job that succeeded; behind it the phrases that stand nowhere in it, and what was not found."""
    if job.result is None:
        raise ValueError(f"job {job.id} has no result: it is {job.state}")
    phrases = job.result.phrases
    inside, outside = legend.pieces(job.result.text, [(p.text, p.span) for p in phrases])
    line = Text()
    for piece in inside:
        line.append(piece.text if piece.phrase is None else _phrase(piece.text, piece.phrase))
    for n in outside:
        line.append("  ")
        line.append(_phrase(phrases[n].text or _where(phrases[n].box), n))
    answers = job.result.answers
    note = legend.unfound((answer.expression, any(phrases[n].area for n in answer.phrases)) for answer in answers)
    if note:
        line.append(f"\n{note}", style="yellow")
    return line


def timings(job: schema.Job) -> Text:
    """What each stage took, in milliseconds, for the start of it that counted."""
    done = {run.stage: run for run in job.stages if run.outcome is Outcome.COMPLETED}
    parts = [
        f"{stage} {run.total_ms:.0f} ms{' (cached)' if run.cached else ''}"
        for stage, run in done.items()
        if run.total_ms is not None
    ]
    return Text(" · ".join(parts), style="dim")


def problem_line(problem: Problem | schema.Problem) -> str:
    """One line: the field at fault, unless what is wrong begins with it, what is wrong, what to do."""
    named = problem.field is None or problem.detail.startswith(f"{problem.field} ")
    told = [problem.detail if named else f"{problem.field}: {problem.detail}", problem.remedy or ""]
    return " ".join(" ".join(part.split()) for part in told if part)


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count:,} {noun}s"


def say(console: Console, line: str, style: str = "") -> None:
    console.print(Text(line, style=style), soft_wrap=True)


def _phrase(text: str, n: int) -> Text:
    number = str(n + 1).translate(_SUPERSCRIPT)
    return Text(f"{text}{number}", style=f"bold {palette.hexadecimal(palette.color(n))}")


def _where(box: Iterable[float] | None) -> str:
    return "nowhere" if box is None else "at " + ", ".join(f"{c:.0f}" for c in box)
