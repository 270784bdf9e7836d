"""How the ends of a batch are counted."""

import io
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from services.cli import report
from services.cli.batch import Done, Request
from shared.errors import InvalidInput, Unavailable
from shared.tasks import Ask, Task

REQUEST = Request(Path("a.png"), "a", Ask(Task.GCG))
RESULT = {"text": "A dog.", "phrases": [], "answers": [], "overlay_url": "/jobs/x/overlay.png", "model": "0" * 16}


def test_no_result_is_kept_when_it_is_counted(job):
    ended: list[weakref.ref[Done]] = []

    def news() -> Iterator[Done]:
        for _ in range(5):
            done = Done(REQUEST, job=job(result=RESULT), files=(Path("a.json"),))
            ended.append(weakref.ref(done))
            yield done
            del done
            assert [one for one in ended[:-1] if one() is not None] == []

    (summary,) = report.count(news(), {Task.GCG: report.Bar(5)}, Console(file=io.StringIO())).values()
    assert (summary.succeeded, summary.failed, summary.exit_code) == (5, 0, report.OK)


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([Unavailable("broker")], report.JOB_FAILED),
        ([Unavailable("broker"), InvalidInput("truth.json[3]", "It is wrong.", "Repair it.")], report.BAD_INPUT),
        ([OSError(2, "No such file", "a.png")], report.BAD_INPUT),
    ],
)
def test_each_failure_is_a_line_and_the_exit_code_tells_whose_turn_it_is(job, errors, code):
    told = io.StringIO()
    news = [Done(REQUEST, job=job(result=RESULT), files=(Path("a.json"),)), *(Done(REQUEST, error=e) for e in errors)]
    summaries = report.count(news, {Task.VQA: report.Bar(1), Task.GCG: report.Bar(len(news))}, Console(file=told))
    summary = summaries[Task.GCG]
    assert (summary.succeeded, summary.failed, summary.exit_code) == (1, len(errors), code)
    assert summaries[Task.VQA] == report.Summary()
    assert len(told.getvalue().splitlines()) == len(errors)
