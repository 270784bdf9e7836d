"""What a job may ask of the model, and which requests make sense."""

import dataclasses
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from shared.errors import InvalidInput
from shared.model.grounding import clean

Box: TypeAlias = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the original image."""

CONTROL_STRINGS = (
    *("<image>", "<bbox>", "[SEG]", "<p>", "</p>", "<im_start>", "<im_end>", "<point>"),
    *("<s>", "</s>", "<unk>"),
)
"""Written in a text these would steer the model instead of being read by it."""

MOST_NEW_TOKENS = 2**31 - 1
"""What a request may name; the service has a limit of its own."""

_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffc")
"""Letters and symbols by their category that show nothing: Hangul's fillers, Braille's blank, a lost object's place."""

_BOX_MARK = re.compile(r"<box(\d{1,4})>")
_EDGES = "Make x2 greater than x1 and y2 greater than y1: they are edges, not a width and a height."
_DEFAULT_HINT = "Leave the prompt out to use the task's own instruction."


class Task(StrEnum):
    """gcg: grounded conversation generation; refseg: referring expression segmentation; ground: phrase grounding."""

    GCG = "gcg"
    REFSEG = "refseg"
    REGION_CAPTION = "region_caption"
    CAPTION = "caption"
    VQA = "vqa"
    GROUND = "ground"


@dataclass(frozen=True)
class Limits:
    """Upper bounds of one request: characters of a text, boxes, and texts in a list."""

    prompt_chars: int = 4000
    boxes: int = 64
    expressions: int = 64


@dataclass(frozen=True)
class Ask:
    """What one job asks of its image.

    prompt: the instruction (gcg, caption, region_caption; None for the task's own), the question (vqa) or the caption
    (ground). boxes: the regions (region_caption) or what the question is about (vqa). expressions: what to segment
    (refseg). phrases: the parts of the caption to ground, in its order (ground; none: the model chooses).
    max_new_tokens: of each answer, of tasks whose answers are the model's own words; never more than the service's own.
    """

    task: Task
    prompt: str | None = None
    boxes: tuple[Box, ...] = ()
    expressions: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    max_new_tokens: int | None = None

    def inputs(self) -> dict[str, Any]:
        """What there is besides the task, as JSON."""
        return {name: value for name in _INPUTS if (value := getattr(self, name))}

    def about(self, answers: int) -> list[tuple[str | None, Box | None]]:
        """What each of that many answers is about: an expression, a region, or neither for the whole image."""
        if self.task is Task.REFSEG:
            return [(expression, None) for expression in self.expressions]
        if self.task is Task.REGION_CAPTION:
            return [(None, box) for box in self.boxes]
        return [(None, None)] * answers

    @classmethod
    def restored(cls, task: str, inputs: Mapping[str, Any]) -> "Ask":
        """The counterpart of `inputs`."""
        return cls(
            task=Task(task),
            prompt=inputs.get("prompt"),
            boxes=tuple(tuple(box) for box in inputs.get("boxes", ())),
            expressions=tuple(inputs.get("expressions", ())),
            phrases=tuple(inputs.get("phrases", ())),
            max_new_tokens=inputs.get("max_new_tokens"),
        )


_INPUTS = tuple(field.name for field in dataclasses.fields(Ask) if field.name != "task")


def validate(ask: Ask, width: int, height: int, limits: Limits | None = None) -> None:
    """Accept what the model can answer on an image of width × height pixels. Raises InvalidInput."""
    limits = limits or Limits()
    match ask.task:
        case Task.VQA:
            question = _required(ask.prompt, "question", "Send a question about the image.")
            validate_question(question, len(ask.boxes), limits)
        case Task.GROUND:
            caption = _required(ask.prompt, "caption", "Send the caption whose phrases to ground.")
            validate_text("caption", caption, limits)
            _validate_grounding(caption, ask.phrases, limits)
        case Task.REFSEG:
            _validate_expressions(ask.expressions, limits)
        case _ if ask.prompt is not None:
            validate_text("prompt", ask.prompt, limits, _DEFAULT_HINT)
    _validate_boxes(ask, width, height, limits.boxes)


def validate_text(field: str, text: str, limits: Limits, remedy: str = "Send some words.") -> None:
    """Accept a text that the model can read. Raises InvalidInput for the input field."""
    name = _shown(field)
    if not text.strip():
        raise InvalidInput(field, f"The {name} is empty.", remedy)
    if len(text) > limits.prompt_chars:
        raise InvalidInput(
            field, f"The {name} has {len(text)} characters.", f"Send at most {limits.prompt_chars} characters."
        )
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text):
        raise InvalidInput(
            field, f"The {name} holds a null character or half a surrogate pair.", "Send valid Unicode text."
        )
    if not any(map(_tells, text)):
        raise InvalidInput(field, f"The {name} holds no letter, digit or symbol.", remedy)
    for control in CONTROL_STRINGS:
        if control in text:
            raise InvalidInput(
                field, f"The {name} holds {control}, which steers the model.", f"Write it without {control}."
            )


def validate_question(question: str, boxes: int, limits: Limits) -> None:
    """Accept a question about that many boxes. Raises InvalidInput."""
    validate_text("question", question, limits)
    for number in _BOX_MARK.findall(question):
        if not 1 <= int(number) <= boxes:
            raise InvalidInput(
                "question",
                f"The question speaks of <box{number}>, but there are {boxes} boxes.",
                "Count boxes from <box1>, and send each of them in boxes.",
            )


def locate(caption: str, phrases: Sequence[str]) -> list[tuple[int, int]]:
    """Where each phrase stands in the caption, as (start, end) characters, each behind the one before.

    A phrase is found whatever its case, but only as whole words. Raises InvalidInput naming one that is not there.
    """
    spans: list[tuple[int, int]] = []
    for index, phrase in enumerate(phrases):
        words = clean(phrase)
        whole_words = re.compile(rf"(?<!\w){re.escape(words)}(?!\w)", re.IGNORECASE)
        found = whole_words.search(caption, spans[-1][1] if spans else 0) if words else None
        if found is None:
            behind = f" behind {phrases[index - 1]!r}" if index else ""
            raise InvalidInput(
                f"phrases[{index}]",
                f"The caption does not hold the words {phrase[:60]!r}{behind}.",
                "Send phrases as they stand in the caption, in its order.",
            )
        spans.append(found.span())
    return spans


def _tells(char: str) -> bool:
    """Whether a reader sees a letter, a digit or a symbol, of whatever script; emoji are symbols.

    White space, punctuation, format characters and accents say nothing where they stand alone.
    """
    return unicodedata.category(char)[0] in "LNS" and char not in _BLANKS


def _required(text: str | None, field: str, remedy: str) -> str:
    if text is None:
        raise InvalidInput(field, f"The {field} is missing.", remedy)
    return text


def _validate_grounding(caption: str, phrases: Sequence[str], limits: Limits) -> None:
    if "<" in caption or ">" in caption:
        raise InvalidInput("caption", "The caption holds < or >, which mark up answers.", "Write it without them.")
    if len(phrases) > limits.expressions:
        raise InvalidInput("phrases", f"There are {len(phrases)} phrases.", f"Send at most {limits.expressions}.")
    for index, phrase in enumerate(phrases):
        validate_text(f"phrases[{index}]", phrase, limits)
    locate(clean(caption), phrases)


def _validate_expressions(expressions: Sequence[str], limits: Limits) -> None:
    if not expressions:
        raise InvalidInput(
            "expressions", "refseg needs a referring expression.", "Send one or more, such as 'the dog on the left'."
        )
    if len(expressions) > limits.expressions:
        raise InvalidInput(
            "expressions", f"There are {len(expressions)} expressions.", f"Send at most {limits.expressions}."
        )
    for index, expression in enumerate(expressions):
        validate_text(f"expressions[{index}]", expression, limits, "Send the referring expression.")


def _validate_boxes(ask: Ask, width: int, height: int, most: int) -> None:
    if ask.task not in (Task.REGION_CAPTION, Task.VQA):
        if ask.boxes:
            raise InvalidInput("boxes", f"{ask.task} takes no boxes.", "Leave boxes out, or use region_caption or vqa.")
        return
    if len(ask.boxes) > most:
        raise InvalidInput("boxes", f"There are {len(ask.boxes)} boxes.", f"Send at most {most}.")
    if ask.task is Task.REGION_CAPTION and not ask.boxes:
        raise InvalidInput("boxes", "region_caption needs a box.", "Send [[x1, y1, x2, y2]] in pixels of the image.")
    for index, box in enumerate(ask.boxes):
        _validate_box(f"boxes[{index}]", box, width, height)


def _validate_box(field: str, box: Sequence[float], width: int, height: int) -> None:
    remedy = f"Send [x1, y1, x2, y2] in pixels with 0 ≤ x1 < x2 ≤ {width} and 0 ≤ y1 < y2 ≤ {height}."
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        raise InvalidInput(field, "A box is four finite numbers.", remedy)
    x1, y1, x2, y2 = box
    wrong = [
        f"{end} ({high:.10g}) must be greater than {start} ({low:.10g})"
        for end, high, start, low in (("x2", x2, "x1", x1), ("y2", y2, "y1", y1))
        if not low < high
    ]
    if wrong:
        raise InvalidInput(field, f"{' and '.join(wrong)}.", f"{_EDGES} {remedy}")
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        raise InvalidInput(field, f"The box leaves the image ({width} × {height}).", remedy)


def _shown(field: str) -> str:
    """`expressions[2]` → `expression`."""
    name, bracket, _ = field.partition("[")
    return name.removesuffix("s") if bracket else name
