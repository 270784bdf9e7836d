"""What goes into the llm stage and what comes out of it."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from shared.stages.questions import Question
from shared.tasks import Ask


@dataclass(frozen=True)
class Prompt:
    """What one answer is generated from.

    ids: with the image's placeholder; region_tokens: (n, hidden), one a `<bbox>` of `ids`, or None without any;
    question: what the answer has to be and will be about; most: tokens of it, where the ask says so.
    """

    ids: tuple[int, ...]
    region_tokens: Tensor | None = None
    question: Question | None = None
    most: int | None = None


class Follower(Protocol):
    """Reads along while answers grow. Both methods are called between steps, so neither may take time."""

    def wants(self, answer: int, ended: bool) -> bool:
        """Whether `grown` is to be called for this one of the item's answers; asked after each of its tokens."""
        ...

    def grown(self, answer: int, text: str) -> None:
        """text: all of the answer so far, with its markup."""
        ...


@dataclass(frozen=True)
class LlmInput:
    """One job. global_tokens: (t, width), of all its prompts."""

    global_tokens: Tensor
    prompts: tuple[Prompt, ...]
    follower: Follower | None = None


@dataclass(frozen=True)
class LlmAnswer:
    """text: the raw answer with its markup; prompt_vectors: (n, D) float32 on the CPU, one a [SEG] in `token_ids`."""

    text: str
    token_ids: tuple[int, ...]
    prompt_vectors: Tensor


@dataclass(frozen=True)
class LlmOutput:
    """One answer a prompt, in their order."""

    answers: tuple[LlmAnswer, ...]


@dataclass(frozen=True)
class PastTurn:
    """An earlier turn of a conversation. answers: raw texts; region_tokens: (n, hidden) of its boxes, or None."""

    ask: Ask
    answers: tuple[str, ...]
    region_tokens: Tensor | None = None
