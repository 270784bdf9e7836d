"""The pixel stage: SAM embedding and prompt vectors → masks at the original size, tied to the answer's phrases."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from shared import masks
from shared.masks import Box, Rle
from shared.model import grounding, parts
from shared.model.checkpoint import load_part
from shared.model.images import resized_size
from shared.model.pixel_decoder import PixelDecoder


@dataclass(frozen=True)
class RawAnswer:
    """An answer as the llm stage gave it. prompt_vectors: (n, D) float32, one a [SEG] of `text`.

    expression: what a [SEG] without a phrase stands for (referring expression segmentation), if anything.
    """

    text: str
    prompt_vectors: Tensor
    expression: str | None = None


@dataclass(frozen=True)
class PixelInput:
    """One job. sam_embedding: (D, g, g); sizes of the original image."""

    sam_embedding: Tensor
    width: int
    height: int
    answers: tuple[RawAnswer, ...]


@dataclass(frozen=True)
class GroundedPhrase:
    """One mask. span: characters of the clean answer; box: None for an empty mask; score: 0..1, see PixelStage."""

    text: str | None
    span: tuple[int, int] | None
    rle: Rle
    box: Box | None
    area: int
    score: float


@dataclass(frozen=True)
class GroundedAnswer:
    """text: without markup; phrases: in the order of their [SEG]."""

    text: str
    phrases: tuple[GroundedPhrase, ...]


@dataclass(frozen=True)
class PixelOutput:
    """One grounded answer for each of the input's, in their order."""

    answers: tuple[GroundedAnswer, ...]


class PixelStage:
    """A mask's score is the mean foreground probability over its pixels: GLaMM trains no quality head to read."""

    def __init__(self, decoder: PixelDecoder) -> None:
        self.decoder = decoder
        parameter = next(decoder.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype

    @classmethod
    def load(
        cls, checkpoint: Path, device: torch.device, dtype: torch.dtype = torch.float32, compiled: bool = False
    ) -> Self:
        """compiled: by torch.compile, at the first run. Raises CheckpointError where the folder lacks this part."""
        decoder = load_part(checkpoint, "pixel", parts.pixel, device, dtype)
        if compiled:
            decoder.compile(dynamic=True)
        return cls(decoder)

    @torch.inference_mode()
    def run(self, batch: Sequence[PixelInput]) -> list[PixelOutput]:
        """Raises ValueError where an answer has another number of [SEG] than it has prompt vectors."""
        vectors = [torch.cat([answer.prompt_vectors for answer in item.answers]) for item in batch]
        owners = [index for index, mine in enumerate(vectors) for _ in mine]
        logits: Tensor = torch.zeros(0)
        if owners:
            embeddings = torch.stack([item.sam_embedding for item in batch]).to(self._device, self._dtype)
            logits, _ = self.decoder(embeddings[owners], torch.cat(vectors).to(self._device, self._dtype))
        return [
            self._output(item, mine)
            for item, mine in zip(batch, logits.split_with_sizes([len(mine) for mine in vectors]), strict=True)
        ]

    def _output(self, item: PixelInput, logits: Tensor) -> PixelOutput:
        """logits: (n, 4g, 4g) of all the item's answers, one after another."""
        pieces = logits.split_with_sizes([len(answer.prompt_vectors) for answer in item.answers])
        return PixelOutput(
            tuple(self._answer(item, answer, mine) for answer, mine in zip(item.answers, pieces, strict=True))
        )

    def _answer(self, item: PixelInput, answer: RawAnswer, logits: Tensor) -> GroundedAnswer:
        said = grounding.parse(answer.text)
        if len(said.mentions) != len(logits):
            raise ValueError(f"{len(said.mentions)} [SEG] in the answer but {len(logits)} prompt vectors")
        phrases = (
            self._phrase(item, mention.phrase or answer.expression, mention.span, mask)
            for mention, mask in zip(said.mentions, logits, strict=True)
        )
        return GroundedAnswer(said.text, tuple(phrases))

    def _phrase(
        self, item: PixelInput, text: str | None, span: tuple[int, int] | None, logits: Tensor
    ) -> GroundedPhrase:
        # One mask at a time: at 64 megapixels the logits of all of them would not fit beside each other.
        original = (item.height, item.width)
        resized = resized_size(item.height, item.width, self.decoder.image_size)
        full = self.decoder.upscale(logits[None], resized, original)[0]
        inside = full > 0
        score = full[inside].sigmoid().mean().item() if bool(inside.any()) else 0.0
        mask = inside.cpu().numpy()
        return GroundedPhrase(
            text=text,
            span=span,
            rle=masks.encode(mask),
            box=masks.box_of(mask),
            area=masks.area(mask),
            score=score,
        )
