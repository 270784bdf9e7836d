"""What each cell of an encoder's grid shows: the dense labels that a small encoder learns to see from."""

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.masks import shrink
from training.scenes.backgrounds import BACKGROUNDS
from training.scenes.categories import CATEGORIES
from training.scenes.colours import COLOURS
from training.scenes.scene import MAX_OBJECTS, POSITIONS, SIZES, Scene

CLASSES = (*CATEGORIES, *BACKGROUNDS)
IGNORE = -100
CELL_SHARE = 0.3
"""A thing is what a cell shows once it covers this share of it, though the background may cover more."""

_COLOURS = ("", *COLOURS)
_SIZES = ("", *SIZES)
_POSITIONS = tuple(words for row in POSITIONS for words in row)


@dataclass(frozen=True)
class Cells:
    """(g, g) class indices each, IGNORE where a cell shows no thing and the attribute has no value.

    rank: the thing's number from the left; IGNORE where a crowd has no order. box: (g, g, 4), the thing's centre and
    size as shares of the picture's.
    """

    category: Tensor
    colour: Tensor
    size: Tensor
    position: Tensor
    rank: Tensor
    box: Tensor

    @classmethod
    def stack(cls, cells: list["Cells"]) -> "Cells":
        """(b, g, g) each."""
        return cls(*(torch.stack([getattr(cell, field.name) for cell in cells]) for field in fields(cls)))


def cells(made: Scene, grid: int) -> Cells:
    """What each of grid × grid cells shows: the thing that covers CELL_SHARE of it most, else the background."""
    best, which = shrink(np.stack([thing.mask for thing in made.objects]), grid).max(0)
    shown = best >= CELL_SHARE
    objects = made.objects
    height, width = made.background_mask.shape
    size = torch.tensor([width, height, width, height])

    def of_objects(values: list[int], elsewhere: int = IGNORE) -> Tensor:
        return torch.where(shown, torch.tensor(values)[which], torch.tensor(elsewhere))

    boxes = torch.tensor([thing.box for thing in objects]) / size
    centred = torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
    return Cells(
        category=of_objects([CLASSES.index(o.category) for o in objects], CLASSES.index(made.background)),
        colour=of_objects([_COLOURS.index(o.colour) for o in objects]),
        size=of_objects([_SIZES.index(o.size) for o in objects]),
        position=of_objects([_POSITIONS.index(o.position) for o in objects]),
        rank=of_objects([rank if len(objects) <= MAX_OBJECTS else IGNORE for rank in range(len(objects))]),
        box=centred[which],
    )


class CellHeads(nn.Module):
    """Linear read-outs of a cell's token: what it shows and of what colour, how large, where; and the thing's box."""

    _WEIGHTS: ClassVar[dict[str, float]] = {"category": 1.0, "colour": 0.5, "size": 0.2, "position": 0.2, "rank": 0.3}
    _BACKGROUND_WEIGHT = 0.3
    _BOX_WEIGHT = 2.0

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = {
            "category": len(CLASSES),
            "colour": len(_COLOURS),
            "size": len(_SIZES),
            "position": len(_POSITIONS),
            "rank": MAX_OBJECTS,
        }
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})
        self.box = nn.Linear(width, 4)

    def loss(self, tokens: Tensor, wanted: Cells) -> tuple[Tensor, dict[str, float]]:
        """tokens: (b, g², width) → the weighted losses' sum, and each head's accuracy.

        object: the accuracy of the category on cells that show a thing.
        """
        total, seen = tokens.new_zeros(()), dict[str, float]()
        things = (wanted.size != IGNORE).flatten()
        for name, head in self.heads.items():
            truth = getattr(wanted, name).flatten()
            logits = head(tokens).flatten(0, 1)
            right = logits.argmax(-1) == truth
            seen[name] = right[truth != IGNORE].float().mean().item()
            if name == "category":
                # Apart, since most cells show the background and would drown the things.
                total = total + self._BACKGROUND_WEIGHT * F.cross_entropy(logits[~things], truth[~things])
                seen["object"] = right[things].float().mean().item()
                logits, truth = logits[things], truth[things]
            total = total + self._WEIGHTS[name] * F.cross_entropy(logits, truth, ignore_index=IGNORE)
        offset = F.l1_loss(self.box(tokens).flatten(0, 1)[things], wanted.box.flatten(0, 2)[things])
        seen["box"] = offset.item()
        return total + self._BOX_WEIGHT * offset, seen
