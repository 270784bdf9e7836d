"""GLaMM in one process: the same three stages that the workers run, chained. Training, evaluation and tests use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from shared.stages.generation import LlmInput, LlmOutput, PastTurn
from shared.stages.llm import LlmStage
from shared.stages.pixel import GroundedAnswer, PixelInput, PixelStage, RawAnswer
from shared.stages.questions import questions
from shared.stages.vision import VisionOutput, VisionStage
from shared.tasks import Ask, Box, Task

GROUNDED_CAPTION = Ask(Task.GCG)


@dataclass(frozen=True)
class Request:
    """One annotation to make. image: RGB; history: the earlier turns of a conversation on it, oldest first."""

    image: Image.Image
    ask: Ask = GROUNDED_CAPTION
    history: tuple[tuple[Ask, "Annotation"], ...] = ()

    @property
    def boxes(self) -> list[Box]:
        """Those of the whole conversation, in its order."""
        return [box for ask in (*(past for past, _ in self.history), self.ask) for box in ask.boxes]


@dataclass(frozen=True)
class Annotation:
    """answers: one a question, see `shared.stages.questions`; raw_texts: the same with their markup."""

    answers: tuple[GroundedAnswer, ...]
    raw_texts: tuple[str, ...]


class Glamm:
    def __init__(self, vision: VisionStage, llm: LlmStage, pixel: PixelStage) -> None:
        self.vision, self.llm, self.pixel = vision, llm, pixel

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        compiled: bool = False,
    ) -> Self:
        """compiled: vision and pixel by torch.compile. Raises CheckpointError where the folder lacks a part."""
        place = device or torch.device("cpu")
        return cls(
            VisionStage.load(checkpoint, place, dtype, compiled),
            LlmStage.load(checkpoint, place, dtype),
            PixelStage.load(checkpoint, place, dtype, compiled),
        )

    def annotate(
        self, image: Image.Image, ask: Ask = GROUNDED_CAPTION, history: Sequence[tuple[Ask, Annotation]] = ()
    ) -> Annotation:
        """One image's answers and masks, those of a grounded caption by default. The caller has validated the ask."""
        return self.annotate_batch([Request(image, ask, tuple(history))])[0]

    def annotate_batch(self, requests: Sequence[Request]) -> list[Annotation]:
        """Every stage runs the requests as one batch."""
        seen = self.vision.run([self.vision.prepare(request.image, request.boxes) for request in requests])
        said = self.llm.run([self._prompts(request, found) for request, found in zip(requests, seen, strict=True)])
        drawn = self.pixel.run([self._masks(*each) for each in zip(requests, seen, said, strict=True)])
        return [
            Annotation(masks.answers, tuple(answer.text for answer in output.answers))
            for masks, output in zip(drawn, said, strict=True)
        ]

    def _prompts(self, request: Request, seen: VisionOutput) -> LlmInput:
        assert seen.global_tokens is not None
        counts = [len(past.boxes) for past, _ in request.history] + [len(request.ask.boxes)]
        regions: list[Tensor | None] = [None] * len(counts)
        if seen.region_tokens is not None:
            regions = list(seen.region_tokens.split_with_sizes(counts))
        history = [
            PastTurn(past, annotation.raw_texts, tokens)
            for (past, annotation), tokens in zip(request.history, regions[:-1], strict=True)
        ]
        return self.llm.prepare(request.ask, seen.global_tokens, regions[-1], history)

    def _masks(self, request: Request, seen: VisionOutput, said: LlmOutput) -> PixelInput:
        assert seen.sam_embedding is not None
        width, height = request.image.size
        return PixelInput(seen.sam_embedding, width, height, raw_answers(request.ask, said))


def raw_answers(ask: Ask, output: LlmOutput) -> tuple[RawAnswer, ...]:
    """The llm stage's answers as the pixel stage takes them."""
    return tuple(
        RawAnswer(answer.text, answer.prompt_vectors, question.expression, question.caption)
        for question, answer in zip(questions(ask), output.answers, strict=True)
    )
