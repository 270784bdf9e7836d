"""Several conversations about each picture, read in one pass of the picture: its tokens are most of what there is.

The picture and the words around it, which begin every conversation, are read once; then each conversation goes on from
there and sees none of the others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from shared.model.lmm import Lmm
from shared.model.tokenizer import IMAGE_PLACEHOLDER
from training.conversations import Span

TOGETHER, TOGETHER_ON_GPU = 10, 80
"""Neighbouring branches that make one pass: few have little padding, many keep a GPU from waiting."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Branch:
    """One conversation after the words that all have in common.

    owner: index of its picture. ids: without those words; answers: where in `ids`. boxes: (k, 4) xyxy in 0..1, one a
    `<bbox>`.
    """

    owner: int
    ids: list[int]
    answers: tuple[Span, ...]
    boxes: Tensor


@dataclass(frozen=True)
class ReadBranches:
    """What the LLM makes of n branches on b pictures.

    images: (b, t, hidden), the states of the pictures' tokens, which stand from position `first` on; states:
    (rows, hidden) of the branches, and starts: the row of each one's first id. targets, predictors: (m,) the answers'
    ids and the rows that predict them; seg_predictors: those that predict a [SEG].
    """

    images: Tensor
    first: int
    states: Tensor
    starts: list[int]
    targets: Tensor
    predictors: Tensor
    seg_predictors: Tensor


def together(device: torch.device) -> int:
    return TOGETHER if device.type == "cpu" else TOGETHER_ON_GPU


def read_branches(
    lmm: Lmm,
    begin: list[int],
    branches: Sequence[Branch],
    image_tokens: Tensor,
    regions: Sequence[Tensor | None],
    bbox: int,
    seg: int,
) -> ReadBranches:
    """begin: the common ids with the picture's placeholder; image_tokens: (b, t, width); regions: (k, hidden) of each
    branch. `together` neighbouring ones make a pass: little of it is padding where they are sorted by length.
    """
    device = image_tokens.device
    ids = torch.tensor(begin, device=device)
    cache = DynamicCache()
    pictures = torch.stack([lmm.embed(ids, mine, None, bbox) for mine in image_tokens])
    before = lmm.states(pictures, cache=cache)
    passes, starts, rows = list[Tensor](), list[int](), 0
    for several in batched(zip(branches, regions, strict=True), together(device)):
        # Padding stands on the right, where causal attention keeps it from everything that counts.
        padded = nn.utils.rnn.pad_sequence(
            [lmm.words(torch.tensor(branch.ids, device=device), mine, bbox) for branch, mine in several],
            batch_first=True,
        )
        owners = torch.tensor([branch.owner for branch, _ in several], device=device)
        passes.append(lmm.states(padded, cache=_for_each(cache, owners)).flatten(0, 1))
        starts.extend(range(rows, rows + len(passes[-1]), padded.shape[1]))
        rows += len(passes[-1])
    targets, predictors, segs = list[int](), list[int](), list[int]()
    for index, branch in enumerate(branches):
        for at in (at for begins, ends in branch.answers for at in range(begins, ends)):
            row = starts[index] + at - 1
            targets.append(branch.ids[at])
            predictors.append(row)
            if branch.ids[at] == seg:
                segs.append(row)
    first = begin.index(IMAGE_PLACEHOLDER)

    def indices(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=device)

    images = before[:, first : first + image_tokens.shape[1]]
    return ReadBranches(images, first, torch.cat(passes), starts, indices(targets), indices(predictors), indices(segs))


def _for_each(cache: DynamicCache, owners: Tensor) -> DynamicCache:
    """A picture's keys and values, for each of its conversations."""
    made = DynamicCache()
    for index, layer in enumerate(cache.layers):
        assert isinstance(layer, DynamicLayer), "LLaMA's layers all attend to everything"
        assert layer.keys is not None, "the pictures were read"
        assert layer.values is not None, "the pictures were read"
        made.update(layer.keys[owners], layer.values[owners], index)
    return made


def batched(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """itertools has it from Python 3.12 on."""
    left = iter(items)
    while several := tuple(islice(left, size)):
        yield several
