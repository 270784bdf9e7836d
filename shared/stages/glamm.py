"""GLaMM in one process: the same three stages that the workers run, chained. Training, evaluation and tests use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from PIL import Image

from shared.masks import Box
from shared.stages.llm import LlmStage
from shared.stages.pixel import GroundedPhrase, PixelInput, PixelStage
from shared.stages.vision import VisionStage


@dataclass(frozen=True)
class Request:
    """One annotation to make. image: RGB; boxes: xyxy pixels; prompt: as the task takes it, None for its default."""

    image: Image.Image
    task: str = "gcg"
    prompt: str | None = None
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Annotation:
    """text: the clean answer; raw_text: with its markup; phrases: one a mask, in the order of their [SEG]."""

    text: str
    raw_text: str
    phrases: tuple[GroundedPhrase, ...]


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
        self, image: Image.Image, task: str = "gcg", prompt: str | None = None, boxes: Sequence[Box] = ()
    ) -> Annotation:
        """One image's answer and masks. The caller has validated the request, as the gateway does."""
        return self.annotate_batch([Request(image, task, prompt, tuple(boxes))])[0]

    def annotate_batch(self, requests: Sequence[Request]) -> list[Annotation]:
        """Every stage runs the requests as one batch."""
        seen = self.vision.run([self.vision.prepare(request.image, request.boxes) for request in requests])
        answers = self.llm.run(
            [
                self.llm.prepare(request.task, request.prompt, tokens.global_tokens, tokens.region_tokens)
                for request, tokens in zip(requests, seen, strict=True)
            ]
        )
        decoded = self.pixel.run(
            [
                PixelInput(
                    sam_embedding=tokens.sam_embedding,
                    prompt_vectors=answer.prompt_vectors,
                    width=request.image.width,
                    height=request.image.height,
                    raw_text=answer.text,
                    expression=request.prompt if request.task == "refseg" else None,
                )
                for request, tokens, answer in zip(requests, seen, answers, strict=True)
            ]
        )
        return [
            Annotation(output.text, answer.text, output.phrases)
            for output, answer in zip(decoded, answers, strict=True)
        ]
