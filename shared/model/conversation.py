"""The conversation template (`llava_v1`) and the instruction that each task sends. Texts are the released model's."""

from collections.abc import Sequence

SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
OVERVIEW = "The <im_start><image><im_end> provides an overview of the picture.\n"
END = "</s>"

GCG = (
    "Could you please give me a detailed description of the image? Please respond with interleaved segmentation "
    "masks for the corresponding parts of the answer."
)
REGION_CAPTION = "Can you provide me with a detailed description of the region in the picture marked by <bbox>?"
REFSEG = "Can you segment the {expression} in this image?"
CAPTION = "Could you please give me a detailed description of the image?"


def instruction(task: str, prompt: str | None) -> str:
    """The user's turn for a task: the client's own prompt, or the paper's instruction where none is given.

    A referring expression is put into the paper's question without its article, which the question brings itself.
    Raises ValueError for a task without an instruction, or for `refseg` without an expression.
    """
    match task:
        case "refseg":
            if prompt is None:
                raise ValueError("refseg needs an expression")
            return REFSEG.format(expression=_without_article(prompt))
        case "gcg":
            return prompt or GCG
        case "caption":
            return prompt or CAPTION
        case "region_caption":
            # A client writes about "the region"; the mark that carries the region's token is ours to place.
            return f"{prompt} <bbox>" if prompt else REGION_CAPTION
    raise ValueError(f"no instruction for task {task!r}")


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
