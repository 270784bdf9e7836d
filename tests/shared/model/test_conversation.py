"""The template and the instructions, letter for letter as the released model saw them."""

import pytest

from shared.model import conversation


def test_one_turn_is_open_after_assistant() -> None:
    assert conversation.build([("Describe it.", None)]) == (
        "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the human's questions. USER: The <im_start><image><im_end> provides an "
        "overview of the picture.\nDescribe it. ASSISTANT:"
    )


def test_the_image_stands_in_the_first_turn_alone() -> None:
    text = conversation.build([("What is it?", "A dog."), ("Where?", None)])
    assert text.count("<image>") == 1
    assert text.endswith("What is it? ASSISTANT: A dog.</s>USER: Where? ASSISTANT:")


def test_default_instructions_are_the_papers() -> None:
    assert conversation.gcg().startswith("Could you please give me a detailed description")
    assert conversation.region_caption().count("<bbox>") == 1
    assert conversation.gcg("What stands out?") == "What stands out?"
    assert conversation.caption("In a word?") == "In a word?"


@pytest.mark.parametrize(("expression", "asked"), [("the red car", "red car"), ("A dog", "dog"), ("the", "the")])
def test_a_referring_expression_brings_no_second_article(expression: str, asked: str) -> None:
    assert conversation.refseg(expression) == f"Can you segment the {asked} in this image?"


def test_a_region_prompt_gets_its_mark() -> None:
    assert conversation.region_caption("What is this?") == "What is this? <bbox>"


@pytest.mark.parametrize(
    ("text", "boxes", "marked", "order"),
    [
        ("How many?", 0, "How many?", ()),
        ("What is this?", 1, "What is this? <bbox>", (0,)),
        ("Is <box2> on <box1>?", 2, "Is <bbox> on <bbox>?", (1, 0)),
        ("Is <box2> here, or <box2>?", 3, "Is <bbox> here, or <bbox>? <bbox> <bbox>", (1, 1, 0, 2)),
    ],
)
def test_a_question_names_its_boxes_or_they_follow_it(
    text: str, boxes: int, marked: str, order: tuple[int, ...]
) -> None:
    assert conversation.question(text, boxes) == (marked, order)


def test_a_mark_for_no_box_is_refused() -> None:
    with pytest.raises(ValueError, match="<box2>"):
        conversation.question("What is <box2>?", 1)
