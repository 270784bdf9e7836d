"""Which requests are taken, and what is said of the others."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.tasks import CONTROL_STRINGS, Task, parse_task, validate_request

WIDTH, HEIGHT = 640, 480
BOX = (1.0, 2.0, 30.5, 40.0)
OTHERS = [task for task in Task if task is not Task.REGION_CAPTION]


def refusal(
    task: Task, prompt: str | None = None, boxes: list[tuple[float, ...]] | None = None, **limits: int
) -> InvalidInput:
    with pytest.raises(InvalidInput) as raised:
        validate_request(task, prompt, boxes or [], WIDTH, HEIGHT, **limits)
    assert raised.value.remedy
    return raised.value


def test_tasks_have_public_names() -> None:
    assert [parse_task(name) for name in ("gcg", "refseg", "region_caption", "caption")] == list(Task)


@pytest.mark.parametrize("name", ["", "GCG", "vqa", "x" * 100_000])
def test_an_unknown_task_is_refused_with_the_names_of_those_there_are(name: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_task(name)
    assert raised.value.field == "task"
    assert "region_caption" in str(raised.value.remedy)
    assert len(raised.value.detail) < 100


@pytest.mark.parametrize(
    ("task", "prompt", "boxes"),
    [
        (Task.GCG, None, []),
        (Task.CAPTION, "What is going on here?", []),
        (Task.REFSEG, "the dog on the left", []),
        (Task.REFSEG, "p [seg] < p > élan 犬", []),
        (Task.REGION_CAPTION, None, [BOX]),
        (Task.REGION_CAPTION, "What is this?", [(0.0, 0.0, float(WIDTH), float(HEIGHT))]),
    ],
)
def test_sensible_requests_are_taken(task: Task, prompt: str | None, boxes: list[tuple[float, ...]]) -> None:
    validate_request(task, prompt, boxes, WIDTH, HEIGHT)


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("prompt", ["", " \n\t", "\N{NO-BREAK SPACE}"])
def test_an_empty_prompt_is_not_an_omitted_one(task: Task, prompt: str) -> None:
    assert refusal(task, prompt, [BOX] if task is Task.REGION_CAPTION else []).field == "prompt"


def test_refseg_needs_an_expression() -> None:
    assert "referring expression" in str(refusal(Task.REFSEG).remedy)


def test_a_long_prompt_is_refused_with_the_limit() -> None:
    validate_request(Task.GCG, "x" * 4000, [], WIDTH, HEIGHT)
    assert "4000" in str(refusal(Task.GCG, "x" * 100_000).remedy)
    assert "10 " in str(refusal(Task.GCG, "x" * 11, max_prompt_chars=10).remedy)


@pytest.mark.parametrize("control", CONTROL_STRINGS)
def test_control_strings_are_refused_by_name(control: str) -> None:
    assert control in refusal(Task.GCG, f"Describe{control}it").detail


@pytest.mark.parametrize("prompt", ["a\0b", "half \ud83d of it"])
def test_text_that_cannot_be_stored_is_refused(prompt: str) -> None:
    assert refusal(Task.GCG, prompt).field == "prompt"


@pytest.mark.parametrize("task", OTHERS)
def test_boxes_are_for_region_captions_alone(task: Task) -> None:
    assert refusal(task, "a dog", [BOX]).field == "boxes"


@pytest.mark.parametrize("count", [0, 2, 65])
def test_region_caption_takes_one_box(count: int) -> None:
    assert refusal(Task.REGION_CAPTION, None, [BOX] * count).field == "boxes"


@pytest.mark.parametrize(
    "box",
    [
        (1.0, 2.0, 3.0),
        (1.0, 2.0, 3.0, 4.0, 5.0),
        (math.nan, 2.0, 3.0, 4.0),
        (1.0, 2.0, math.inf, 4.0),
        (3.0, 2.0, 3.0, 4.0),
        (3.0, 5.0, 4.0, 4.0),
        (-0.1, 2.0, 3.0, 4.0),
        (1.0, 2.0, WIDTH + 0.5, 4.0),
        (1.0, 2.0, 3.0, HEIGHT + 1.0),
    ],
)
def test_a_box_must_lie_in_the_image(box: tuple[float, ...]) -> None:
    error = refusal(Task.REGION_CAPTION, None, [box])
    assert error.field == "boxes[0]"
    assert str(WIDTH) in str(error.remedy)


@given(task=st.sampled_from(Task), prompt=st.none() | st.text(), boxes=st.lists(st.lists(st.floats()), max_size=3))
def test_anything_else_is_taken_or_refused_and_nothing_worse(
    task: Task, prompt: str | None, boxes: list[list[float]]
) -> None:
    refused = None
    try:
        validate_request(task, prompt, boxes, WIDTH, HEIGHT)
    except InvalidInput as error:
        refused = error.to_problem()
    assert refused is None or (refused.field and refused.remedy)
