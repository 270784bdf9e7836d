"""The grounding image encoder and the pixel decoder: masks on demand, as SAM learned them, and dense labels beside.

SAM's own training prompts with points and boxes. Here a prompt is one vector, as GLaMM's will be, made of what is known
of the thing: its category, its colour, its box, each of them left out now and then. What is asked for are all the
pixels that answer to what is said: without a box, all things of that category, or of that colour among them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Self

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image
from torch import Tensor, nn

from shared.masks import Box, Mask
from shared.model.config import SamConfig
from shared.model.grounding_encoder import GroundingImageEncoder
from shared.model.images import sam_pixels
from shared.model.pixel_decoder import PixelDecoder
from training.losses import BCE_WEIGHT, DICE_WEIGHT, mask_bce, mask_dice
from training.masks import shrink
from training.pretrain.cells import CLASSES, CellHeads, Cells, cells
from training.pretrain.phase import Learner
from training.scenes.colours import COLOURS
from training.scenes.compose import Purpose, scene, scene_generator
from training.scenes.scene import Scene

MASKS_PER_SCENE = 3
_BACKGROUND_SHARE = 0.15
_BOX_SHARE = 0.55
_COLOUR_SHARE = 0.5
_NAMELESS_SHARE = 0.3
_COLOUR_ALONE_SHARE = 0.3
# Centre and size of the box as angles of these many turns over the picture.
_FREQUENCIES = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Prompt:
    """category, colour: indices, 0 where they are not said. box: centre and size as shares, None where not said."""

    category: int
    colour: int
    box: tuple[float, float, float, float] | None
    mask: Mask

    @classmethod
    def of_background(cls, made: Scene) -> Self:
        return cls(1 + CLASSES.index(made.background), 0, None, made.background_mask)

    @classmethod
    def of_things(cls, category: str, colour: str, box: tuple[float, float, float, float] | None, mask: Mask) -> Self:
        """category, colour: "" where they are not said."""
        return cls(
            1 + CLASSES.index(category) if category else 0, 1 + COLOURS.index(colour) if colour else 0, box, mask
        )


@dataclass(frozen=True)
class Batch:
    """pixels: (b, 3, S, S). For each of n prompts: owner, category, colour (n,); box (n, 4), boxed (n,) whether it
    counts; masks (n, 4g, 4g), soft.
    """

    pixels: Tensor
    cells: Cells
    owner: Tensor
    category: Tensor
    colour: Tensor
    box: Tensor
    boxed: Tensor
    masks: Tensor


class PromptVectors(nn.Module):
    """Sums of what is said of a thing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.category = nn.Embedding(1 + len(CLASSES), width)
        self.colour = nn.Embedding(1 + len(COLOURS), width)
        self.box = nn.Sequential(nn.Linear(8 * len(_FREQUENCIES), width), nn.GELU(), nn.Linear(width, width))

    def forward(self, category: Tensor, colour: Tensor, box: Tensor, boxed: Tensor) -> Tensor:
        """(n,), (n,), (n, 4), (n,) → (n, width)."""
        turns = 2 * torch.pi * box[..., None] * torch.tensor(_FREQUENCIES, device=box.device)
        where: Tensor = self.box(torch.cat([turns.sin(), turns.cos()], -1).flatten(1))
        said: Tensor = self.category(category) + self.colour(colour)
        return said + where * boxed[:, None]


class SamLearner(Learner):
    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = GroundingImageEncoder(config)
        self.decoder = PixelDecoder(config)
        self.heads = CellHeads(config.prompt_dim)
        self.prompts = PromptVectors(config.prompt_dim)

    def examples(self, first: int, batch: int, apart: int) -> Iterator[Batch]:
        for start in count(first, apart):
            numbers = range(start, start + batch)
            made = [scene(number, "train") for number in numbers]
            asked = [
                prompts(each, scene_generator(n, "train", Purpose.PROMPTS))
                for n, each in zip(numbers, made, strict=True)
            ]
            said = [prompt for mine in asked for prompt in mine]
            yield Batch(
                pixels=torch.stack([sam_pixels(Image.fromarray(each.image), self.config.image_size) for each in made]),
                cells=Cells.stack([cells(each, self.config.grid) for each in made]),
                owner=torch.tensor([index for index, mine in enumerate(asked) for _ in mine]),
                category=torch.tensor([prompt.category for prompt in said]),
                colour=torch.tensor([prompt.colour for prompt in said]),
                box=torch.tensor([prompt.box or (0.0, 0.0, 0.0, 0.0) for prompt in said]),
                boxed=torch.tensor([float(prompt.box is not None) for prompt in said]),
                masks=shrink(np.stack([prompt.mask for prompt in said]), 4 * self.config.grid),
            )

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        embeddings = self.encoder(batch.pixels)
        dense, seen = self.heads.loss(embeddings.flatten(2).transpose(1, 2), batch.cells)
        vectors = self.prompts(batch.category, batch.colour, batch.box, batch.boxed)
        masks, _ = self.decoder(embeddings[batch.owner], vectors)
        bce, dice = mask_bce(masks, batch.masks), mask_dice(masks, batch.masks)
        hit, truth = masks > 0, batch.masks > 0.5
        iou = (hit & truth).flatten(1).sum(1) / (hit | truth).flatten(1).sum(1).clamp(min=1)
        boxed = batch.boxed > 0
        figures = {"bce": bce.item(), "dice": dice.item(), "iou": iou.mean().item()}
        figures |= {"iou_boxed": iou[boxed].mean().item(), "iou_named": iou[~boxed].mean().item()}
        dense_share = {name: seen[name] for name in ("object", "colour", "box")}
        return 0.5 * dense + 2 * (BCE_WEIGHT * bce + DICE_WEIGHT * dice), figures | dense_share


def prompts(made: Scene, rng: Generator) -> list[Prompt]:
    """What MASKS_PER_SCENE masks of a scene are asked for by."""
    return [_prompt(made, rng) for _ in range(MASKS_PER_SCENE)]


def centred(box: Box, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """A box in pixels as its centre and size in shares of the picture's width and height."""
    (x1, y1, x2, y2), (height, width) = box, shape
    return (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height


def _prompt(made: Scene, rng: Generator) -> Prompt:
    if rng.random() < _BACKGROUND_SHARE:
        return Prompt.of_background(made)
    thing = made.objects[int(rng.integers(len(made.objects)))]
    colour = thing.colour if rng.random() < _COLOUR_SHARE else ""
    if rng.random() < _BOX_SHARE:
        named = rng.random() >= _NAMELESS_SHARE
        box = centred(thing.box, thing.mask.shape)
        return Prompt.of_things(thing.category if named else "", colour if named else "", box, thing.mask)
    category = "" if colour and rng.random() < _COLOUR_ALONE_SHARE else thing.category
    alike = [
        other.mask
        for other in made.objects
        if other.category == (category or other.category) and other.colour == (colour or other.colour)
    ]
    return Prompt.of_things(category, colour, None, np.logical_or.reduce(alike))
