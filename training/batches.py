"""Samples as tensors: pixels for both towers, conversations as ids, masks at their pictures' own sizes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from shared.model.config import GlammConfig
from shared.model.images import clip_pixels, sam_pixels
from shared.model.tokenizer import IMAGE_PLACEHOLDER, GlammTokenizer
from training.conversations import Span, read_out
from training.data.mixture import Mixture, Share
from training.data.sample import DataError, Sample


@dataclass(frozen=True)
class Batch:
    """b samples. clip, sam: (b, 3, S, S) each; and of every sample:

    ids: its conversation with the picture's placeholder; answers: where in `ids` each answer begins and ends;
    boxes: (k, 4) xyxy in 0..1, one a `<bbox>`; masks: (n, H, W) bool at the picture's size, one a [SEG] of the answers.
    """

    clip: Tensor
    sam: Tensor
    ids: tuple[list[int], ...]
    answers: tuple[tuple[Span, ...], ...]
    boxes: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]

    def to(self, device: torch.device) -> Self:
        return type(self)(
            self.clip.to(device),
            self.sam.to(device),
            self.ids,
            self.answers,
            tuple(boxes.to(device) for boxes in self.boxes),
            tuple(masks.to(device) for masks in self.masks),
        )


class Batcher:
    """max_length: positions that a conversation may take, the picture's tokens among them; the rest is cut off."""

    def __init__(self, config: GlammConfig, tokenizer: GlammTokenizer, max_length: int) -> None:
        self.config, self.tokenizer, self.max_length = config, tokenizer, max_length

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Raises DataError where a sample's picture cannot be read, or does not fit its conversation."""
        made = [self._one(sample) for sample in samples]
        clip, sam, ids, answers, boxes, masks = zip(*made, strict=True)
        return Batch(torch.stack(clip), torch.stack(sam), ids, answers, boxes, masks)

    def _one(self, sample: Sample) -> tuple[Tensor, Tensor, list[int], tuple[Span, ...], Tensor, Tensor]:
        image = open_picture(sample)
        ids, answers = self._conversation(sample)
        boxes = [box for turn in sample.turns for box in turn.boxes][: ids.count(self.tokenizer.bbox)]
        size = torch.tensor([image.width, image.height, image.width, image.height])
        segs = sum(ids[begin:end].count(self.tokenizer.seg) for begin, end in answers)
        return (
            clip_pixels(image, self.config.clip.image_size),
            sam_pixels(image, self.config.sam.image_size),
            ids,
            answers,
            torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) / size,
            truth_masks(sample, image.height, image.width)[:segs],
        )

    def _conversation(self, sample: Sample) -> tuple[list[int], tuple[Span, ...]]:
        """Ids and answers as far as the length goes."""
        ids, answers = read_out([(turn.question, turn.answer) for turn in sample.turns], self.tokenizer)
        if ids.count(IMAGE_PLACEHOLDER) != 1:
            raise sample.error("turns", "the text holds the marker <image>, which stands for the picture alone")
        said = [token for begin, end in answers for token in ids[begin:end]]
        for what, mark, found, wanted in (
            ("boxes", "<bbox>", ids.count(self.tokenizer.bbox), sum(len(turn.boxes) for turn in sample.turns)),
            ("masks", "[SEG]", said.count(self.tokenizer.seg), sum(len(turn.masks) for turn in sample.turns)),
        ):
            if found != wanted:
                raise sample.error("turns", f"{wanted} {what} for {found} {mark} of the text")
        length = self.max_length - self.config.clip.tokens + 1
        kept = tuple((begin, min(end, length)) for begin, end in answers if begin < length)
        if not kept:
            raise sample.error("turns", f"the first question fills all the {self.max_length} positions")
        return ids[:length], kept


@dataclass(frozen=True)
class Unusable:
    """Stands for a batch that cannot be made. A worker's exceptions reach the training as text without a type."""

    field: str
    detail: str


class BatchStream(IterableDataset[Batch | Unusable]):
    """One process's endless batches from a step on, made by any number of workers and the same whatever the number."""

    def __init__(self, mixture: Mixture, batcher: Batcher, share: Share, step: int) -> None:
        self.mixture, self.batcher, self.share, self.step = mixture, batcher, share, step

    def __iter__(self) -> Iterator[Batch | Unusable]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for samples in self.mixture.batches(self.share, self.step, first, stride):
            try:
                yield self.batcher(samples)
            except DataError as error:
                yield Unusable(str(error.field), error.detail)


def open_picture(sample: Sample) -> Image.Image:
    """RGB. Raises DataError where there is no readable picture."""
    if isinstance(sample.image, Image.Image):
        return sample.image
    try:
        with Image.open(sample.image) as picture:
            return picture.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise sample.error("image", f"{sample.image} is no readable picture: {error}") from error


def truth_masks(sample: Sample, height: int, width: int) -> Tensor:
    """(n, height, width) bool, one a [SEG] of the sample. Raises DataError where a mask is not of that size."""
    try:
        masks = [torch.from_numpy(mask.decode(height, width)) for turn in sample.turns for mask in turn.masks]
    except ValueError as error:
        raise sample.error("masks", str(error)) from error
    return torch.stack(masks) if masks else torch.zeros(0, height, width, dtype=torch.bool)
