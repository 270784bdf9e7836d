"""What small encoders and language models learn fastest with: Muon for the matrices inside, AdamW for all else."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

WEIGHT_DECAY = 0.02
MUON_SHARE = 2.0
"""Muon's rate as a multiple of AdamW's, both in the units of AdamW's steps."""

WIDE, WIDE_SHARE = 4096, 0.1
"""A map of more inputs than this learns at this share of the rate: AdamW moves all of its weights alike, and what comes
out moves by their sum. (At the full rate, the region encoder's grew a thousandfold.)"""

_INSIDE = (".resblocks.", ".blocks.", ".layers.")
# Keller Jordan's quintic, which brings singular values of 0 to 1 near 1 in five rounds.
_QUINTIC = (3.4445, -4.775, 2.0315)
_ROUNDS = 5


def optimisers(named: Iterable[tuple[str, nn.Parameter]]) -> list[tuple[Optimizer, float]]:
    """With each its share of the learning rate. Muon is for maps between hidden states, not for tables of vectors."""
    matrices, wide, others = list[nn.Parameter](), list[nn.Parameter](), list[nn.Parameter]()
    for name, parameter in named:
        if parameter.ndim == 2 and parameter.shape[1] > WIDE:
            wide.append(parameter)
            continue
        inside = parameter.ndim == 2 and "rel_pos" not in name and any(part in name for part in _INSIDE)
        (matrices if inside else others).append(parameter)
    made: list[tuple[Optimizer, float]] = [(AdamW(others, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY), 1.0)]
    if wide:
        made.append((AdamW(wide, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY), WIDE_SHARE))
    if matrices:
        made.append((Muon(matrices, weight_decay=WEIGHT_DECAY), MUON_SHARE))
    return made


class Muon(Optimizer):
    """Momentum whose every step is made orthogonal (https://kellerjordan.github.io/posts/muon), for 2-D parameters.

    A step's root mean square is 0.2 times the rate, as AdamW's customarily is. torch's own Muon computes in bfloat16,
    in which a CPU without instructions for it multiplies ten times slower than in float32.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                average: Tensor = state["momentum"]
                average.lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(average, group["momentum"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                scale = 0.2 * max(parameter.shape) ** 0.5
                parameter.add_(orthogonal(ahead), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix with all its singular values brought to about 1, by Newton and Schulz's iteration."""
    a, b, c = _QUINTIC
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / (x.norm() + 1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x if wide else x.T
