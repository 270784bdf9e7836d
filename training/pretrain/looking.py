"""Where the LLM should look while it speaks of something: attention that is taught, not only found.

A small LLM that meets few conversations seldom finds out by itself that the next word stands in the picture. So some
heads of one layer learn it by name: wherever something is about to be spoken of, or segmented, they attend to the image
tokens of the cells that show it. Nothing is added to the model, and nothing is left of this once it has been learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from shared.masks import Mask
from shared.model.lmm import Lmm
from shared.model.tokenizer import GlammTokenizer
from training.language.conversations import Turn
from training.language.naming import united
from training.masks import shrink
from training.pretrain.branches import Branch
from training.pretrain.cells import CELL_SHARE
from training.scenes.scene import Scene

HEADS = 2
LEAST = 1e-4
"""Less attention than this on what is meant is no worse: the logarithm's slope ends."""


@dataclass(frozen=True)
class Looks:
    """n moments at which a conversation speaks of something.

    branch: (n,) index of the conversation; at: (n,) of its id that is read then; cells: (n, g²), true where the
    picture's cell shows what is meant.
    """

    branch: Tensor
    at: Tensor
    cells: Tensor


class Watched:
    """Keeps what heads of the middle layer attended to, (b, HEADS, l, keys), in the passes since the last loss."""

    def __init__(self, lmm: Lmm) -> None:
        # The fused attention does not tell.
        lmm.llama.set_attn_implementation("eager")
        self._kept = list[Tensor]()
        layers = lmm.llama.model.layers
        layers[len(layers) // 2].self_attn.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: object, outputs: tuple[Tensor, Tensor]) -> None:
        self._kept.append(outputs[1][:, :HEADS])

    def loss(self, looks: Looks, first: int, together: int) -> tuple[Tensor, Tensor]:
        """After `read_branches`. first: position of the pictures' first token; together: branches a pass → minus the
        logarithm of the share of attention on what is meant, averaged over the moments and heads, and that share.
        """
        shares = list[Tensor]()
        _pictures, *passes = self._kept
        self._kept.clear()
        for index, attention in enumerate(passes):
            mine = looks.branch // together == index
            rows = attention[looks.branch[mine] % together, :, looks.at[mine]].float()
            on_picture = rows[..., first : first + looks.cells.shape[1]]
            shares.append((on_picture * looks.cells[mine][:, None]).sum(-1))
        share = torch.cat(shares)
        return -share.clamp(min=LEAST).log().mean(), share.mean()


def looks(
    scenes: Sequence[Scene],
    said: Sequence[Sequence[Turn]],
    branches: Sequence[Branch],
    tokenizer: GlammTokenizer,
    grid: int,
) -> Looks:
    """scenes: the pictures; said: each branch's turns."""
    index, at, masks = list[int](), list[int](), list[Mask]()
    for number, (turns, branch) in enumerate(zip(said, branches, strict=True)):
        for turn, (begin, end) in zip(turns, branch.answers, strict=True):
            for place, mask in _moments(scenes[branch.owner], turn, branch.ids[begin:end], tokenizer):
                index.append(number)
                at.append(begin + place)
                masks.append(mask)
    covered = shrink(np.stack(masks), grid).flatten(1)
    # A thin thing may cover no cell that much: then the one that it covers most.
    shown = (covered >= CELL_SHARE) | (covered == covered.amax(1, keepdim=True))
    return Looks(torch.tensor(index), torch.tensor(at), shown)


def _moments(made: Scene, turn: Turn, answer: Sequence[int], tokenizer: GlammTokenizer) -> list[tuple[int, Mask]]:
    """Places relative to the answer's first id, -1 being the id that the first answering word follows."""
    found = list[tuple[int, Mask]]()
    opened = -1
    left = iter(turn.masks)
    for place, token in enumerate(answer):
        if token == tokenizer.phrase:
            opened = place
        elif token == tokenizer.seg:
            mask = next(left)
            found.append((place - 1, mask))
            if opened >= 0:
                found.append((opened, mask))
                opened = -1
    if turn.seen:
        found.append((-1, united(made.objects[index] for index in turn.seen)))
    elif turn.about is not None:
        found.append((-1, made.objects[turn.about].mask))
    elif len(turn.masks) == 1:
        found.append((-1, turn.masks[0]))
    return found
