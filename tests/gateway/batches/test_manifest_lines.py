"""Whatever a line of a manifest holds, it is a job or a fault that names a field and a remedy."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.gateway.manifest.lines import RawLine
from services.gateway.manifest.reading import Rules, read
from shared import tasks
from shared.batches import Line, LineFault
from shared.tasks import Task

RULES = Rules(tasks.Limits(), side=1000, buckets={"photos"})
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
TEXT = st.text(max_size=20) | st.sampled_from(["the dog", "<box1>", "[SEG]", "\0", "\ud800", " "])
BOXES = st.lists(st.lists(st.floats(-10, 1100), min_size=4, max_size=4), max_size=3)
LINES = st.fixed_dictionaries(
    {},
    optional={
        "custom_id": TEXT | ANYTHING,
        "image_id": st.sampled_from(["0" * 64, "A" * 64, ""]) | ANYTHING,
        "s3_uri": st.sampled_from(["s3://photos/a.png", "s3://others/a.png", "s3://photos/", "http://x/"]) | ANYTHING,
        "task": st.sampled_from(list(Task)) | ANYTHING,
        "prompt": TEXT | ANYTHING,
        "question": TEXT | ANYTHING,
        "caption": TEXT | ANYTHING,
        "expressions": st.lists(TEXT, max_size=3) | ANYTHING,
        "phrases": st.lists(TEXT, max_size=3) | ANYTHING,
        "boxes": BOXES | ANYTHING,
        "unheard_of": ANYTHING,
    },
)


def judged(data: bytes) -> Line | LineFault:
    found = read(RawLine(7, data), RULES)
    assert found.number == 7
    if isinstance(found, LineFault):
        problem = found.problem
        assert problem.field
        assert problem.detail
        assert problem.remedy
        json.dumps(problem.to_json()).encode()
    return found


@given(LINES)
@example({"image_id": "0" * 64, "task": "gcg"})
@example({"s3_uri": "s3://photos/a.png", "task": "vqa", "question": "What is <box1>?", "boxes": [[0, 0, 5, 5]]})
def test_what_is_json(line: dict[str, Any]) -> None:
    judged(json.dumps(line).encode())


@given(st.binary(max_size=60))
@example(b"")
@example(b"[]")
@example(b'{"a": ' * 5000)
@example("{}".encode("utf-16"))
def test_what_is_not(data: bytes) -> None:
    assert isinstance(judged(data), LineFault)


def test_a_field_that_comes_twice_is_named() -> None:
    line = b'{"image_id": "%s", "task": "vqa", "question": "Why?", "qu\\u0065stion": "Where?"}' % (b"0" * 64)
    fault = judged(line)
    assert isinstance(fault, LineFault)
    assert (fault.problem.field, fault.problem.remedy) == ("question", "Send it once.")


def test_the_examples_are_jobs() -> None:
    assert isinstance(judged(b'{"image_id": "%s", "task": "gcg"}' % (b"0" * 64)), Line)
