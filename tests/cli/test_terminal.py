import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from services.cli import terminal
from shared import palette
from shared.errors import InvalidInput


def phrase(n: int, text: str | None, span: tuple[int, int] | None, area: int = 10) -> dict[str, Any]:
    return {
        "n": n,
        "text": text,
        "span": span,
        "mask": {"size": [48, 64], "counts": "P`0"},
        "box": [1.0, 2.0, 30.0, 40.0],
        "area": area,
        "score": 0.9,
        "mask_url": f"/jobs/x/masks/{n}.png",
    }


def result(text: str, *phrases: dict[str, Any]) -> dict[str, Any]:
    return {"text": text, "answers": [], "phrases": list(phrases), "overlay_url": "/jobs/x/overlay.png", "model": "f"}


def stage(name: str, outcome: str, total_ms: float | None, cached: bool = False) -> dict[str, Any]:
    return {
        "stage": name,
        "attempt": 1,
        "worker": "host:1",
        "started_at": datetime.now(UTC).isoformat(),
        "finished_at": None,
        "outcome": outcome,
        "cached": cached,
        "waited_ms": 1.0,
        "fetch_ms": None,
        "engine_wait_ms": None,
        "engine_ms": None,
        "store_ms": None,
        "total_ms": total_ms,
    }


def test_phrases_stand_in_the_caption_in_the_colours_of_the_overlay(job):
    text = "A red ball beside a box."
    line = terminal.caption(job(result=result(text, phrase(0, "A red ball", (0, 10)), phrase(1, "a box", (18, 23)))))

    assert line.plain == "A red ball¹ beside a box²."
    shown = io.StringIO()
    Console(file=shown, force_terminal=True, color_system="truecolor", width=80).print(line)
    for n in (0, 1):
        assert "{};{};{}m".format(*palette.color(n)) in shown.getvalue()


def test_phrases_without_a_place_in_the_text_follow_it(job):
    line = terminal.caption(job(result=result("Sure.", phrase(0, "the left dog", None), phrase(1, None, None))))
    assert line.plain == "Sure.  the left dog¹  at 1, 2, 30, 40²"


def answer(text: str, expression: str | None, *phrases: int) -> dict[str, Any]:
    return {"text": text, "span": (0, len(text)), "expression": expression, "box": None, "phrases": list(phrases)}


def test_an_expression_that_found_nothing_is_named_whatever_the_model_says_of_it(job):
    said = result("Sure.\nNo.\nSure.", phrase(0, "the dog", None), phrase(1, "the fog", None, area=0))
    said["answers"] = [
        answer("Sure.", "the dog", 0),
        answer("No.", "the dog [left]"),
        answer("Sure.", "the fog", 1),
    ]
    line = terminal.caption(job(result=said))
    assert line.plain.splitlines()[-1] == "Nothing found for “the dog [left]”, “the fog”."
    assert "the dog¹" in line.plain


def test_an_answer_about_no_expression_finds_nothing_amiss(job):
    said = result("A quiet street.")
    said["answers"] = [answer("A quiet street.", None)]
    assert terminal.caption(job(result=said)).plain == "A quiet street."


def test_text_that_looks_like_markup_is_shown_as_it_is(job):
    assert terminal.caption(job(result=result("a [red]sign[/red] [SEG]"))).plain == "a [red]sign[/red] [SEG]"


def test_a_job_without_a_result_has_no_caption(job):
    with pytest.raises(ValueError, match="no result"):
        terminal.caption(job(state="failed"))


def test_timings_count_the_starts_that_completed(job):
    stages = [
        stage("vision", "lost", None),
        stage("vision", "completed", 12.4, cached=True),
        stage("llm", "completed", 345.6),
        stage("pixel", "running", None),
    ]
    assert terminal.timings(job(stages=stages)).plain == "vision 12 ms (cached) · llm 346 ms"


def test_a_problem_is_one_line_with_its_field_and_remedy():
    error = InvalidInput("prompt", "The prompt\nis empty.", "Leave it out.")
    assert terminal.problem_line(error.to_problem()) == "prompt: The prompt is empty. Leave it out."


def test_a_problem_that_begins_with_its_field_names_it_once():
    error = InvalidInput("n", "n is below 0.", "Send 0 or more.")
    assert terminal.problem_line(error.to_problem()) == "n is below 0. Send 0 or more."
    error = InvalidInput("n", "none is there.", "Send one.")
    assert terminal.problem_line(error.to_problem()) == "n: none is there. Send one."
