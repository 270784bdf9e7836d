"""Errors as problems: stable types, and a round trip through JSON."""

import json

import pytest

from shared import errors
from shared.errors import GlammError, Problem

EXAMPLES = [
    (errors.InvalidInput("prompt", "It is empty.", "Write one."), 422, "invalid-input"),
    (errors.UnsupportedMedia("image", "A PDF.", "Send PNG."), 415, "unsupported-media"),
    (errors.TooLarge("image", "100 MB.", "Send less."), 413, "too-large"),
    (errors.NotFound("job", 7), 404, "not-found"),
    (errors.Conflict("It is finished."), 409, "conflict"),
    (errors.Overloaded(1.2), 503, "overloaded"),
    (errors.Unavailable("database"), 503, "unavailable"),
    (errors.WorkerLost(), 500, "worker-lost"),
    (errors.FeaturesLost("sam"), 500, "features-lost"),
    (errors.Expired(), 504, "expired"),
    (errors.InvalidSettings("No."), 500, "invalid-settings"),
    (GlammError("Something broke."), 500, "internal"),
]


@pytest.mark.parametrize(("error", "status", "slug"), EXAMPLES, ids=[slug for _, _, slug in EXAMPLES])
def test_an_error_is_one_problem(error: GlammError, status: int, slug: str) -> None:
    problem = error.to_problem()
    assert (problem.status, problem.type) == (status, f"urn:glamm:problem:{slug}")
    assert problem.title
    assert problem.detail == str(error)
    stored = json.loads(json.dumps(problem.to_json()))
    assert Problem.from_json(stored | {"stage": "llm", "attempt": 3}) == problem


def test_input_errors_name_field_and_remedy() -> None:
    problem = errors.InvalidInput("boxes[0]", "It has no area.", "Send one.").to_problem()
    assert (problem.field, problem.remedy) == ("boxes[0]", "Send one.")


def test_overloaded_says_when_to_come_back_in_whole_seconds() -> None:
    assert errors.Overloaded(1.2).to_problem().remedy == "Try again in 2 s."
