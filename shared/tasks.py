"""What a job may ask of the model, and which requests make sense."""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import TypeAlias

from shared.errors import InvalidInput

Box: TypeAlias = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the original image."""

CONTROL_STRINGS = ("<image>", "<bbox>", "[SEG]", "<p>", "</p>", "<im_start>", "<im_end>", "<point>")
"""Written in a prompt these would steer the model instead of being read by it."""

_CAPTION_PROMPT_HINT = "Leave the prompt out to use the task's own instruction."


class Task(StrEnum):
    GCG = "gcg"
    REFSEG = "refseg"
    REGION_CAPTION = "region_caption"
    CAPTION = "caption"


def parse_task(value: str) -> Task:
    """The task of that name. Raises InvalidInput."""
    try:
        return Task(value)
    except ValueError:
        raise InvalidInput(
            "task", f"There is no task {value[:40]!r}.", f"Use one of: {', '.join(task.value for task in Task)}."
        ) from None


def validate_request(
    task: Task,
    prompt: str | None,
    boxes: Sequence[Sequence[float]],
    width: int,
    height: int,
    *,
    max_prompt_chars: int = 4000,
    max_boxes: int = 64,
) -> None:
    """Accept what the model can answer on an image of width × height pixels. Raises InvalidInput."""
    _validate_prompt(task, prompt, max_prompt_chars)
    _validate_boxes(task, boxes, width, height, max_boxes)


def _validate_prompt(task: Task, prompt: str | None, max_chars: int) -> None:
    if prompt is None:
        if task is Task.REFSEG:
            raise InvalidInput(
                "prompt", "refseg needs a prompt.", "Send the referring expression, such as 'the dog on the left'."
            )
        return
    if not prompt.strip():
        remedy = "Send the referring expression." if task is Task.REFSEG else _CAPTION_PROMPT_HINT
        raise InvalidInput("prompt", "The prompt is empty.", remedy)
    if len(prompt) > max_chars:
        raise InvalidInput(
            "prompt", f"The prompt has {len(prompt)} characters.", f"Send at most {max_chars} characters."
        )
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in prompt):
        raise InvalidInput(
            "prompt", "The prompt holds a null character or half a surrogate pair.", "Send valid Unicode text."
        )
    for control in CONTROL_STRINGS:
        if control in prompt:
            raise InvalidInput(
                "prompt", f"The prompt holds {control}, which steers the model.", f"Write it without {control}."
            )


def _validate_boxes(task: Task, boxes: Sequence[Sequence[float]], width: int, height: int, max_boxes: int) -> None:
    if task is not Task.REGION_CAPTION:
        if boxes:
            raise InvalidInput("boxes", f"{task} takes no boxes.", "Leave boxes out, or use region_caption.")
        return
    if len(boxes) > max_boxes:
        raise InvalidInput("boxes", f"There are {len(boxes)} boxes.", f"Send at most {max_boxes}.")
    if len(boxes) != 1:
        raise InvalidInput("boxes", f"region_caption describes one box; {len(boxes)} came.", "Send one job a box.")
    for index, box in enumerate(boxes):
        _validate_box(f"boxes[{index}]", box, width, height)


def _validate_box(field: str, box: Sequence[float], width: int, height: int) -> None:
    remedy = f"Send [x1, y1, x2, y2] in pixels with 0 ≤ x1 < x2 ≤ {width} and 0 ≤ y1 < y2 ≤ {height}."
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        raise InvalidInput(field, "A box is four finite numbers.", remedy)
    x1, y1, x2, y2 = box
    if not (x1 < x2 and y1 < y2):
        raise InvalidInput(field, "The box has no area.", remedy)
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        raise InvalidInput(field, f"The box leaves the image ({width} × {height}).", remedy)
