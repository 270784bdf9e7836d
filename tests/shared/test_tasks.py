"""Which requests are taken, and what is said of the others."""

import json
import math
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.tasks import CONTROL_STRINGS, Ask, Limits, Task, locate, validate

WIDTH, HEIGHT = 640, 480
BOX = (1.0, 2.0, 30.5, 40.0)
WITH_TEXT = {
    "prompt": Ask(Task.GCG, ""),
    "question": Ask(Task.VQA, ""),
    "caption": Ask(Task.GROUND, ""),
    "expressions[1]": Ask(Task.REFSEG, expressions=("the dog", "")),
    "phrases[0]": Ask(Task.GROUND, "A dog.", phrases=("",)),
}
"""For each field with a text, an ask in which it is empty."""


def refusal(ask: Ask, limits: Limits | None = None) -> InvalidInput:
    with pytest.raises(InvalidInput) as raised:
        validate(ask, WIDTH, HEIGHT, limits)
    assert raised.value.remedy
    return raised.value


def saying(field: str, text: str) -> Ask:
    """The field's ask with this text in it."""
    empty = WITH_TEXT[field]
    if field.startswith("expressions"):
        return Ask(empty.task, expressions=("the dog", text))
    if field.startswith("phrases"):
        return Ask(empty.task, empty.prompt, phrases=(text,))
    return Ask(empty.task, text)


def test_tasks_have_public_names() -> None:
    names = ("gcg", "refseg", "region_caption", "caption", "vqa", "ground")
    assert names == tuple(Task)


@pytest.mark.parametrize(
    "ask",
    [
        Ask(Task.GCG),
        Ask(Task.CAPTION, "What is going on here?"),
        Ask(Task.REFSEG, expressions=("the dog on the left", "p [seg] < p > élan 犬")),
        Ask(Task.REGION_CAPTION, boxes=(BOX,) * 64),
        Ask(Task.REGION_CAPTION, "What is this?", ((0.0, 0.0, float(WIDTH), float(HEIGHT)),)),
        Ask(Task.VQA, "How many dogs are there?"),
        Ask(Task.CAPTION, max_new_tokens=20),
        Ask(Task.VQA, "Is <box2> larger than <box1>?", (BOX, BOX)),
        Ask(Task.GROUND, "A dog, in front of a tree."),
        Ask(Task.GROUND, "A dog  and\na dog, in front of a tree.", phrases=("a dog", "A dog", "tree")),
    ],
)
def test_sensible_requests_are_taken(ask: Ask) -> None:
    validate(ask, WIDTH, HEIGHT)
    assert Ask.restored(ask.task.value, ask.inputs()) == ask


@pytest.mark.parametrize("field", WITH_TEXT)
@pytest.mark.parametrize("text", ["", " \n\t", "\N{NO-BREAK SPACE}"])
def test_an_empty_text_is_not_an_omitted_one(field: str, text: str) -> None:
    assert refusal(saying(field, text)).field == field


@pytest.mark.parametrize("field", WITH_TEXT)
@pytest.mark.parametrize(
    "text",
    [
        "...",
        "?!",
        "“…” —",
        "\N{ZERO WIDTH SPACE}",
        "\N{WORD JOINER} \N{ZERO WIDTH NO-BREAK SPACE}\N{RIGHT-TO-LEFT MARK}",
        "\N{COMBINING ACUTE ACCENT}\N{VARIATION SELECTOR-16}",
        "\N{HANGUL FILLER}",
        "\N{BRAILLE PATTERN BLANK}",
        "\N{OBJECT REPLACEMENT CHARACTER}",
        "\ue000",
    ],
)
def test_a_text_of_which_a_reader_sees_nothing_or_dots_is_refused(field: str, text: str) -> None:
    refused = refusal(saying(field, text))
    assert refused.field == field
    assert "no letter, digit or symbol" in refused.detail


@pytest.mark.parametrize(
    "text",
    [
        "犬",
        "いぬ",
        "강아지",
        "कुत्ता",
        "الكلب",
        "e\N{COMBINING ACUTE ACCENT}",
        "\N{ZERO WIDTH SPACE}dog",
        "7",
        "٣",
        "\N{DOG FACE}",
        "\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}",
        "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}",
        "\N{REGIONAL INDICATOR SYMBOL LETTER F}\N{REGIONAL INDICATOR SYMBOL LETTER R}",
        "1\N{VARIATION SELECTOR-16}\N{COMBINING ENCLOSING KEYCAP}",
        "€",
        "♂",
    ],
)
def test_a_letter_digit_or_symbol_of_any_script_is_enough(text: str) -> None:
    validate(Ask(Task.REFSEG, expressions=(text,)), WIDTH, HEIGHT)
    validate(Ask(Task.VQA, f"{text}?"), WIDTH, HEIGHT)
    validate(Ask(Task.GROUND, f"({text})", phrases=(text,)), WIDTH, HEIGHT)


@pytest.mark.parametrize("field", WITH_TEXT)
def test_a_long_text_is_refused_with_the_limit(field: str) -> None:
    assert "4000" in str(refusal(saying(field, "x" * 100_000)).remedy)
    assert "10 " in str(refusal(saying(field, "x" * 11), Limits(prompt_chars=10)).remedy)


@pytest.mark.parametrize("field", WITH_TEXT)
@pytest.mark.parametrize("control", CONTROL_STRINGS)
def test_control_strings_are_refused_by_name(field: str, control: str) -> None:
    refused = refusal(saying(field, f"Describe{control}it"))
    assert refused.field == field
    assert control in refused.detail


def test_every_special_token_of_the_shipped_tokenizer_is_a_control_string() -> None:
    tokenizer = resources.files("shared.model") / "checkpoints" / "scenes" / "tokenizer.json"
    special = {token["content"] for token in json.loads(tokenizer.read_text())["added_tokens"]}
    assert special | {"<image>"} == set(CONTROL_STRINGS)


@pytest.mark.parametrize("field", WITH_TEXT)
@pytest.mark.parametrize("text", ["a\0b", "half \ud83d of it"])
def test_text_that_cannot_be_stored_is_refused(field: str, text: str) -> None:
    assert refusal(saying(field, text)).field == field


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (Ask(Task.REFSEG), "expressions"),
        (Ask(Task.REFSEG, "the dog"), "expressions"),
        (Ask(Task.REFSEG, expressions=("a dog",) * 65), "expressions"),
        (Ask(Task.REGION_CAPTION), "boxes"),
        (Ask(Task.REGION_CAPTION, boxes=(BOX,) * 65), "boxes"),
        (Ask(Task.VQA), "question"),
        (Ask(Task.VQA, "Why?", boxes=(BOX,) * 65), "boxes"),
        (Ask(Task.GROUND), "caption"),
        (Ask(Task.GROUND, "a <b>dog</b>"), "caption"),
        (Ask(Task.GROUND, "A dog. " * 65, phrases=("dog",) * 65), "phrases"),
    ],
)
def test_what_a_task_needs_is_said(ask: Ask, field: str) -> None:
    assert refusal(ask).field == field


@pytest.mark.parametrize("task", [Task.GCG, Task.CAPTION])
def test_boxes_are_for_tasks_about_boxes(task: Task) -> None:
    assert refusal(Ask(task, boxes=(BOX,))).field == "boxes"


@pytest.mark.parametrize("mark", ["<box0>", "<box3>", "<box9999>"])
def test_a_question_names_boxes_that_are_there(mark: str) -> None:
    refused = refusal(Ask(Task.VQA, f"What is {mark}?", (BOX, BOX)))
    assert refused.field == "question"
    assert "2 boxes" in refused.detail


def test_phrases_are_found_as_whole_words_one_behind_the_other() -> None:
    caption = 'A dog and a dogged dog (a cat), by the "red" dog\'s tree.'
    found = ["a dog", "DOG", "a cat", "red", "dog", "tree."]
    assert [caption[start:end] for start, end in locate(caption, found)] == ["A dog", "dog", *found[2:]]
    for missing, index in ((["bird"], 0), (["tree", "A dog"], 1), (["dog"] * 4, 3), (["ogged"], 0), (["<x>"], 0)):
        with pytest.raises(InvalidInput) as raised:
            locate(caption, missing)
        assert raised.value.field == f"phrases[{index}]"


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
@pytest.mark.parametrize("task", [Task.REGION_CAPTION, Task.VQA])
def test_a_box_must_lie_in_the_image(task: Task, box: tuple[float, ...]) -> None:
    error = refusal(Ask(task, "What is this?", (BOX, box)))  # type: ignore[arg-type]
    assert error.field == "boxes[1]"
    assert str(WIDTH) in str(error.remedy)


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ((30.0, 5.0, 9.5, 40.0), "x2 (9.5) must be greater than x1 (30)."),
        ((1.0, 40.0, 9.0, 5.0), "y2 (5) must be greater than y1 (40)."),
        ((3.0, 2.0, 3.0, 4.0), "x2 (3) must be greater than x1 (3)."),
        ((30.0, 40.0, 20.0, 10.0), "x2 (20) must be greater than x1 (30) and y2 (10) must be greater than y1 (40)."),
    ],
)
def test_an_inverted_box_is_told_which_edges_are_wrong(box: tuple[float, float, float, float], told: str) -> None:
    error = refusal(Ask(Task.REGION_CAPTION, boxes=(box,)))
    assert error.detail == told
    assert "x2 greater than x1 and y2 greater than y1" in str(error.remedy)


@given(
    task=st.sampled_from(Task),
    prompt=st.none() | st.text(),
    boxes=st.lists(st.lists(st.floats()), max_size=3),
    texts=st.lists(st.text(), max_size=3),
)
def test_anything_else_is_taken_or_refused_and_nothing_worse(
    task: Task, prompt: str | None, boxes: list[list[float]], texts: list[str]
) -> None:
    refused = None
    try:
        validate(Ask(task, prompt, tuple(map(tuple, boxes)), tuple(texts), tuple(texts)), WIDTH, HEIGHT)  # type: ignore[arg-type]
    except InvalidInput as error:
        refused = error.to_problem()
    assert refused is None or (refused.field and refused.remedy)
