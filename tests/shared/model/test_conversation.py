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
    assert conversation.instruction("gcg", None).startswith("Could you please give me a detailed description")
    assert conversation.instruction("region_caption", None).count("<bbox>") == 1
    assert conversation.instruction("gcg", "What stands out?") == "What stands out?"


@pytest.mark.parametrize(("expression", "asked"), [("the red car", "red car"), ("A dog", "dog"), ("the", "the")])
def test_a_referring_expression_brings_no_second_article(expression: str, asked: str) -> None:
    assert conversation.instruction("refseg", expression) == f"Can you segment the {asked} in this image?"


def test_a_region_prompt_gets_its_mark() -> None:
    assert conversation.instruction("region_caption", "What is this?") == "What is this? <bbox>"


def test_unknown_tasks_and_missing_expressions_are_refused() -> None:
    with pytest.raises(ValueError, match="no instruction"):
        conversation.instruction("poetry", None)
    with pytest.raises(ValueError, match="expression"):
        conversation.instruction("refseg", None)
