"""From what a job asks to what the model is asked: one question for each answer that the job has."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.model import conversation
from shared.model.grounding import clean
from shared.tasks import Ask, Task, locate


@dataclass(frozen=True)
class Question:
    """One turn of the user, and what its answer will be about.

    text: with a `<bbox>` for each of `boxes`, which are indices into the ask's. expression: what an answer without
    phrases speaks of. caption: the text that the answer has to be, its phrases in `spans`; None in place of spans
    leaves them to the model.
    """

    text: str
    boxes: tuple[int, ...] = ()
    expression: str | None = None
    caption: str | None = None
    spans: tuple[tuple[int, int], ...] | None = None


def questions(ask: Ask) -> tuple[Question, ...]:
    """The ask was validated, as the gateway does. Several expressions or regions are as many questions, in order."""
    match ask.task:
        case Task.GCG:
            return (Question(conversation.gcg(ask.prompt)),)
        case Task.CAPTION:
            return (Question(conversation.caption(ask.prompt)),)
        case Task.REFSEG:
            return tuple(Question(conversation.refseg(text), expression=text) for text in ask.expressions)
        case Task.REGION_CAPTION:
            text = conversation.region_caption(ask.prompt)
            return tuple(Question(text, boxes=(index,)) for index in range(len(ask.boxes)))
        case Task.VQA:
            text, boxes = conversation.question(ask.prompt or "", len(ask.boxes))
            return (Question(text, boxes),)
        case Task.GROUND:
            caption = clean(ask.prompt or "")
            spans = tuple(locate(caption, ask.phrases)) if ask.phrases else None
            return (Question(conversation.ground(caption), caption=caption, spans=spans),)


def marked_boxes(asked: Sequence[Question]) -> list[int]:
    """The box of each `<bbox>` of several questions, in the order in which the model meets them."""
    return [index for question in asked for index in question.boxes]
