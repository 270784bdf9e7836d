"""From a command's options to what is asked of each image."""

from collections.abc import Sequence
from enum import StrEnum

from shared.errors import InvalidInput
from shared.tasks import Ask, Box, Task

_TAKEN = {
    Task.GCG: {"--prompt", "--max-new-tokens"},
    Task.CAPTION: {"--prompt", "--max-new-tokens"},
    Task.REGION_CAPTION: {"--prompt", "--box", "--max-new-tokens"},
    Task.REFSEG: {"--expression"},
    Task.VQA: {"--question", "--box", "--max-new-tokens"},
    Task.GROUND: {"--caption", "--phrase"},
}


class Kind(StrEnum):
    """The sets that are predicted, as `glamm evaluate` names them."""

    GCG = "gcg"
    REFSEG = "refseg"
    REGION_CAPTION = "region-caption"
    VQA = "vqa"
    CAPTION = "caption"

    @property
    def task(self) -> Task:
        """What is asked of each image."""
        return Task(self.value.replace("-", "_"))


def read_ask(
    task: Task,
    prompt: str | None,
    question: str | None,
    caption: str | None,
    expressions: Sequence[str],
    phrases: Sequence[str],
    boxes: Sequence[str],
    max_new_tokens: int | None,
) -> Ask:
    """The ask that the options make. Raises InvalidInput for one that its task does not take, or lacks."""
    given = {
        "--prompt": prompt,
        "--question": question,
        "--caption": caption,
        "--expression": expressions,
        "--phrase": phrases,
        "--box": boxes,
        "--max-new-tokens": max_new_tokens,
    }
    for option, value in given.items():
        if value and option not in _TAKEN[task]:
            takers = ", ".join(other for other, options in _TAKEN.items() if option in options)
            raise InvalidInput(option, f"{task} takes no {option}.", f"Leave it out, or use --task {takers}.")
    for option, value in given.items():
        for text in [value] if isinstance(value, str) else value if isinstance(value, Sequence) else ():
            require_text(option, text)
    for needing, option, value in (
        (Task.VQA, "--question", question),
        (Task.GROUND, "--caption", caption),
        (Task.REFSEG, "--expression", expressions),
        (Task.REGION_CAPTION, "--box", boxes),
    ):
        if task is needing and not value:
            raise InvalidInput(option, f"{task} needs {option}.", f"Add {option}.")
    texts = {Task.VQA: question, Task.GROUND: caption}
    return Ask(
        task,
        texts.get(task, prompt),
        boxes=tuple(map(parse_box, boxes)),
        expressions=tuple(expressions),
        phrases=tuple(phrases),
        max_new_tokens=max_new_tokens,
    )


def require_text(field: str, text: str) -> None:
    """Raises InvalidInput for bytes that the terminal, or whoever wrote them, did not mean as UTF-8."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise InvalidInput(field, "It is no text in UTF-8.", "Write it in UTF-8.")


def parse_box(text: str) -> Box:
    """`X1,Y1,X2,Y2` → a box. Raises InvalidInput."""
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInput("--box", f"{text[:60]!r} is not a box.", "Write four numbers: X1,Y1,X2,Y2.") from None
    return x1, y1, x2, y2
