"""The conversation template (`llava_v1`) and the instruction that each task sends. Texts are the released model's,
but for those of `vqa`, which are the client's, and `ground`, which the released code does not have.
"""

import re
from collections.abc import Sequence

SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
OVERVIEW = "The <im_start><image><im_end> provides an overview of the picture.\n"
BBOX = "<bbox>"
END = "</s>"

GCG = (
    "Could you please give me a detailed description of the image? Please respond with interleaved segmentation "
    "masks for the corresponding parts of the answer."
)
REGION_CAPTION = "Can you provide me with a detailed description of the region in the picture marked by <bbox>?"
REFSEG = "Can you segment the {expression} in this image?"
CAPTION = "Could you please give me a detailed description of the image?"
GROUND = (
    "Please respond with interleaved segmentation masks for the corresponding parts of this description of the "
    "image: {caption}"
)

BOX_MARK = re.compile(r"<box(\d{1,4})>")
"""How a client's question names one of its boxes, counted from 1; the model reads `<bbox>` there."""


def gcg(prompt: str | None = None) -> str:
    return prompt or GCG


def caption(prompt: str | None = None) -> str:
    return prompt or CAPTION


def refseg(expression: str) -> str:
    """The expression in the paper's question, without its article, which the question brings itself.

    The released code keeps the article, and lower-cases the expression.
    """
    return REFSEG.format(expression=_without_article(expression))


def region_caption(prompt: str | None = None) -> str:
    """About one region. A client writes of "the region"; the mark that carries its token is put behind."""
    return f"{prompt} {BBOX}" if prompt else REGION_CAPTION


def ground(given: str) -> str:
    """About a caption that is there already."""
    return GROUND.format(caption=given)


def question(text: str, boxes: int = 0) -> tuple[str, tuple[int, ...]]:
    """A free question about `boxes` boxes → the turn's text with its `<bbox>` marks, and the box of each mark.

    `<box1>` … name the boxes where the question speaks of them; those that it does not name follow at its end.
    Raises ValueError naming a mark that stands for none of the boxes.
    """
    named = [int(number) - 1 for number in BOX_MARK.findall(text)]
    for index in named:
        if not 0 <= index < boxes:
            raise ValueError(f"<box{index + 1}> stands for no box: there are {boxes}")
    unnamed = [index for index in range(boxes) if index not in named]
    marked = " ".join([BOX_MARK.sub(BBOX, text), *[BBOX] * len(unnamed)])
    return marked, (*named, *unnamed)


def build(turns: Sequence[tuple[str, str | None]]) -> str:
    """The whole prompt. turns: (user, assistant) pairs, the last assistant None for the answer to be generated.

    The overview sentence with the image stands in front of the first turn alone.
    """
    text = SYSTEM + " "
    for index, (user, assistant) in enumerate(turns):
        text += f"USER: {OVERVIEW if index == 0 else ''}{user} ASSISTANT:"
        if assistant is not None:
            text += f" {assistant}{END}"
    return text


def _without_article(expression: str) -> str:
    words = expression.strip().split()
    if len(words) > 1 and words[0].lower() in ("the", "a", "an"):
        words = words[1:]
    return " ".join(words)
