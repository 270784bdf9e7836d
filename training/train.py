"""Trains a small GLaMM from nothing on composed scenes: first the towers, then the whole model on top of them."""

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from shared.model.config import GlammConfig
from shared.model.tokenizer import GlammTokenizer
from training.examples import Example, SceneExamples

WARMUP = 100
COOLING = 0.3
LOG_EVERY = 50


@dataclass(frozen=True)
class Phase:
    """One stretch of training with its own learning rate; ends after `steps`."""

    name: str
    steps: int
    batch: int
    rate: float


class Learner(nn.Module):
    """What a phase trains: called with a batch of examples it gives their loss and figures to log."""

    def rate_of(self, name: str) -> float:
        """The learning rate of a parameter, as a share of the phase's."""
        return 1.0


def learning_rate(phase: Phase, step: int) -> float:
    """Linear warm-up, then constant, then over the last COOLING share of the steps down to a twentieth.

    So a run may be given more or fewer steps at any time before it cools: what it did so far stays what it would be.
    """
    warm = min(1.0, (step + 1) / WARMUP)
    left = (phase.steps - step) / max(1.0, COOLING * phase.steps)
    return phase.rate * warm * (0.05 + 0.95 * min(1.0, left))


def run_phase(
    phase: Phase,
    model: Learner,
    examples_from: Callable[[int], Iterator[list[Example]]],
    folder: Path,
    save_every: int = 200,
) -> None:
    """Steps to the phase's end, from its last saved state where there is one.

    examples_from: the batches from a given step on, so that a resumed run reads what an uninterrupted one would.

    The folder gets `PHASE.pt` (weights, optimiser, step) every `save_every` steps and a line of figures in
    `PHASE.jsonl` every LOG_EVERY.
    """
    by_share: dict[float, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            by_share[model.rate_of(name)].append(parameter)
    trained = [parameter for group in by_share.values() for parameter in group]
    optimiser = torch.optim.AdamW(
        [{"params": group, "share": share} for share, group in by_share.items()], betas=(0.9, 0.95), weight_decay=0.01
    )
    state_file, log_file = folder / f"{phase.name}.pt", folder / f"{phase.name}.jsonl"
    state = torch.load(state_file, weights_only=True) if state_file.exists() else None
    first = state["step"] if state else 0
    examples = examples_from(first)
    if state:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        # Last, since opening the stream draws random numbers too.
        torch.set_rng_state(state["random"])
    seen: dict[str, list[float]] = defaultdict(list)
    began = time.monotonic()
    for step in range(first, phase.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(phase, step) * group["share"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, figures = model(next(examples))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        for name, value in figures.items():
            if not math.isnan(value):
                seen[name].append(value)
        if (step + 1) % LOG_EVERY == 0:
            means = {name: round(sum(values) / len(values), 4) for name, values in seen.items()}
            line = {"step": step + 1, "seconds": round(time.monotonic() - began), **means}
            with log_file.open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(phase.name, json.dumps(line), flush=True)
            seen.clear()
        if (step + 1) % save_every == 0 or step + 1 == phase.steps:
            partial = state_file.with_suffix(".partial")
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            torch.save(state | {"random": torch.get_rng_state()}, partial)
            partial.replace(state_file)


def stream(
    config: GlammConfig, tokenizer: GlammTokenizer, phase: Phase, start: int, workers: int
) -> Callable[[int], Iterator[list[Example]]]:
    """The phase's batches from any step on, made by `workers` processes. `start`: the phase's first scene number."""

    def batches(step: int) -> Iterator[list[Example]]:
        dataset = SceneExamples(config, tokenizer, phase.batch, start + step * phase.batch)
        return iter(DataLoader(dataset, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None))

    return batches
