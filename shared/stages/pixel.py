"""The pixel stage: SAM embedding and prompt vectors → masks at the original size, tied to the answer's phrases."""

from collections.abc import Sequence
from dataclasses import dataclass, field
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

    expression: what a [SEG] without a phrase stands for (referring expression segmentation), if anything; caption: what
    the text is but for its markup, where that was settled before (phrase grounding).
    """

    text: str
    prompt_vectors: Tensor
    expression: str | None = None
    caption: str | None = None


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


MASKS_A_STEP = 16


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

    def stepper(self, masks_a_step: int) -> "PixelStepper":
        return PixelStepper(self, masks_a_step)

    def run(self, batch: Sequence[PixelInput]) -> list[PixelOutput]:
        """The whole batch to its end. Raises ValueError where an answer has more or fewer [SEG] than prompt vectors."""
        stepper = self.stepper(MASKS_A_STEP)
        for key, item in enumerate(batch):
            stepper.admit(key, item)
        outputs: dict[int, PixelOutput] = {}
        while len(stepper):
            for key, outcome in stepper.step():
                outputs[key] = outcome
        return [outputs[key] for key in range(len(batch))]

    @torch.inference_mode()
    def decode(self, asked: Sequence[tuple[PixelInput, Tensor]]) -> Tensor:
        """One mask a pair of item and prompt vector: low-resolution logits (n, 4g, 4g)."""
        embeddings = torch.stack([item.sam_embedding for item, _ in asked]).to(self._device, self._dtype)
        vectors = torch.stack([vector for _, vector in asked]).to(self._device, self._dtype)
        logits: Tensor = self.decoder(embeddings, vectors)[0]
        return logits

    @torch.inference_mode()
    def phrase(
        self, item: PixelInput, text: str | None, span: tuple[int, int] | None, logits: Tensor
    ) -> GroundedPhrase:
        """A mask at the image's own size. logits: (4g, 4g)."""
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


@dataclass
class _Drawing:
    """An item on its way. asked: what each of its masks is of; done: the masks that there are."""

    urgent: bool
    item: PixelInput
    said: list[grounding.GroundedText]
    asked: list[tuple[int, grounding.Mention, Tensor]]
    done: list[GroundedPhrase] = field(default_factory=list)

    def output(self) -> PixelOutput:
        phrases: list[list[GroundedPhrase]] = [[] for _ in self.said]
        for (answer, _, _), phrase in zip(self.asked, self.done, strict=True):
            phrases[answer].append(phrase)
        return PixelOutput(
            tuple(GroundedAnswer(said.text, tuple(mine)) for said, mine in zip(self.said, phrases, strict=True))
        )


class PixelStepper:
    """A bounded number of masks a step, whoever's they are: jobs of many masks hold up nobody for long."""

    def __init__(self, stage: PixelStage, masks_a_step: int) -> None:
        self._stage, self._masks_a_step = stage, masks_a_step
        self._items: dict[int, _Drawing] = {}

    def __len__(self) -> int:
        return len(self._items)

    def admit(self, key: int, item: PixelInput, urgent: bool = False) -> None:
        """Raises ValueError where an answer has another number of [SEG] than it has prompt vectors."""
        said = [_read(answer) for answer in item.answers]
        asked = [
            (index, mention, vector)
            for index, (answer, text) in enumerate(zip(item.answers, said, strict=True))
            for mention, vector in zip(text.mentions, answer.prompt_vectors, strict=True)
        ]
        self._items[key] = _Drawing(urgent, item, said, asked)

    def drop(self, key: int) -> None:
        self._items.pop(key, None)

    def shrink(self) -> bool:
        """Draw fewer at a time from now on; False where it is one already."""
        if self._masks_a_step == 1:
            return False
        self._masks_a_step //= 2
        return True

    def step(self) -> list[tuple[int, PixelOutput]]:
        """The next masks, urgent ones first, then the longest admitted → the items that are whole with them."""
        turn = [
            (drawing, *drawing.asked[n])
            for drawing in sorted(self._items.values(), key=lambda drawing: not drawing.urgent)
            for n in range(len(drawing.done), len(drawing.asked))
        ][: self._masks_a_step]
        if turn:
            logits = self._stage.decode([(drawing.item, vector) for drawing, _, _, vector in turn])
            for (drawing, answer, mention, _), mask in zip(turn, logits, strict=True):
                text = mention.phrase or drawing.item.answers[answer].expression
                drawing.done.append(self._stage.phrase(drawing.item, text, mention.span, mask))
        whole = [key for key, drawing in self._items.items() if len(drawing.done) == len(drawing.asked)]
        return [(key, self._items.pop(key).output()) for key in whole]


def _read(answer: RawAnswer) -> grounding.GroundedText:
    said = grounding.parse(answer.text) if answer.caption is None else grounding.align(answer.text, answer.caption)
    if len(said.mentions) != len(answer.prompt_vectors):
        raise ValueError(f"{len(said.mentions)} [SEG] in the answer but {len(answer.prompt_vectors)} prompt vectors")
    return said
