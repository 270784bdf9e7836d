"""GLaMM over whole conversations at once, answers and all, as training runs it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared.model.clip import GlobalImageEncoder
from shared.model.config import GlammConfig
from shared.model.lmm import Lmm, expanded_positions
from shared.model.region import RegionEncoder
from shared.model.tokenizer import IMAGE_PLACEHOLDER
from training.conversations import Span


@dataclass(frozen=True)
class Seen:
    """What the LLM gets of a batch of b pictures.

    global_tokens: (b, t, width); regions: (k, hidden) for each picture with boxes, by its index in the batch.
    """

    global_tokens: Tensor
    regions: dict[int, Tensor]


@dataclass(frozen=True)
class Read:
    """What the LLM makes of b conversations, padded to l positions.

    states: (b·l, hidden); the others index its first axis or go with such an index. targets: (n,) the answers' ids
    and predictors: (n,) the state that has to predict each; seg_predictors: (m,) those that predict a [SEG];
    image_positions: (b·t,) where the pictures' tokens stand.
    """

    states: Tensor
    targets: Tensor
    predictors: Tensor
    seg_predictors: Tensor
    image_positions: Tensor


def see(
    clip: GlobalImageEncoder, region: RegionEncoder, config: GlammConfig, pixels: Tensor, boxes: Sequence[Tensor]
) -> Seen:
    """pixels: (b, 3, S, S) for CLIP; boxes: for each picture (k, 4) xyxy in 0..1, k may be 0."""
    boxed = [index for index, mine in enumerate(boxes) if len(mine)]
    levels = config.region.levels if boxed else ()
    global_tokens, *states = clip(pixels, [config.clip.select_layer, *levels])
    regions: dict[int, Tensor] = {}
    if boxed:
        shallow_to_deep = [state[boxed] for state in reversed(states)]
        tokens = region(shallow_to_deep, [boxes[index] for index in boxed])
        regions = dict(zip(boxed, tokens, strict=True))
    return Seen(global_tokens, regions)


def read(
    lmm: Lmm, ids: Sequence[Sequence[int]], answers: Sequence[Sequence[Span]], seen: Seen, bbox: int, seg: int
) -> Read:
    """One forced pass. ids: with the picture's placeholder; answers: where in them; bbox, seg: ids of the tokens."""
    device = seen.global_tokens.device
    image_tokens = seen.global_tokens.shape[1]
    sequences = [
        lmm.embed(torch.tensor(mine, device=device), seen.global_tokens[index], seen.regions.get(index), bbox)
        for index, mine in enumerate(ids)
    ]
    # Padding stands on the right, where causal attention keeps it from everything that counts.
    padded = nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    states = lmm.states(padded).flatten(0, 1)
    targets, predictors, segs, images = list[int](), list[int](), list[int](), list[int]()
    for index, mine in enumerate(ids):
        start = index * padded.shape[1]
        positions = expanded_positions(mine, image_tokens)
        image_at = start + positions[list(mine).index(IMAGE_PLACEHOLDER)]
        images.extend(range(image_at, image_at + image_tokens))
        for at in (at for begin, end in answers[index] for at in range(begin, end)):
            before = start + positions[at] - 1
            targets.append(mine[at])
            predictors.append(before)
            if mine[at] == seg:
                segs.append(before)

    def indices(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=device)

    return Read(states, indices(targets), indices(predictors), indices(segs), indices(images))
