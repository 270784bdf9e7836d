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
class PixelInput:
    """sam_embedding: (D, g, g); prompt_vectors: (n, D) float32, one a [SEG] of `raw_text`; sizes of the original image.

    expression: what a [SEG] without a phrase stands for (referring expression segmentation), if anything.
    """

    sam_embedding: Tensor
    prompt_vectors: Tensor
    width: int
    height: int
    raw_text: str
    expression: str | None = None


@dataclass(frozen=True)
class GroundedPhrase:
    """One mask. `span`: characters of the clean text; `box`: None for an empty mask; `score`: 0..1, see PixelStage."""

    text: str | None
    span: tuple[int, int] | None
    rle: Rle
    box: Box | None
    area: int
    score: float


@dataclass(frozen=True)
class PixelOutput:
    text: str
    phrases: tuple[GroundedPhrase, ...]


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
        owners = [index for index, item in enumerate(batch) for _ in item.prompt_vectors]
        logits: Tensor = torch.zeros(0)
        if owners:
            embeddings = torch.stack([item.sam_embedding for item in batch]).to(self._device, self._dtype)
            prompts = torch.cat([item.prompt_vectors for item in batch]).to(self._device, self._dtype)
            logits, _ = self.decoder(embeddings[owners], prompts)
        outputs, done = [], 0
        for item in batch:
            mine = logits[done : done + len(item.prompt_vectors)]
            done += len(mine)
            outputs.append(self._output(item, mine))
        return outputs

    def _output(self, item: PixelInput, logits: Tensor) -> PixelOutput:
        said = grounding.parse(item.raw_text)
        if len(said.mentions) != len(logits):
            raise ValueError(f"{len(said.mentions)} [SEG] in the answer but {len(logits)} prompt vectors")
        phrases = tuple(self._phrase(item, mention, mask) for mention, mask in zip(said.mentions, logits, strict=True))
        return PixelOutput(said.text, phrases)

    def _phrase(self, item: PixelInput, mention: grounding.Mention, logits: Tensor) -> GroundedPhrase:
        # One mask at a time: at 64 megapixels the logits of all of them would not fit beside each other.
        original = (item.height, item.width)
        resized = resized_size(item.height, item.width, self.decoder.image_size)
        full = self.decoder.upscale(logits[None], resized, original)[0]
        inside = full > 0
        score = full[inside].sigmoid().mean().item() if bool(inside.any()) else 0.0
        mask = inside.cpu().numpy()
        return GroundedPhrase(
            text=mention.phrase or item.expression,
            span=mention.span,
            rle=masks.encode(mask),
            box=masks.box_of(mask),
            area=masks.area(mask),
            score=score,
        )
