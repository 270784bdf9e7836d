"""One stretch of training from a stream of examples, which goes on where it stopped."""

import json
import math
import os
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.attention import fastest
from training.pretrain.optimisers import optimisers

WARMUP = 100
COOLING = 0.3
LOG_EVERY = 50
SAVE_EVERY = 250


@dataclass(frozen=True)
class Phase:
    """name: of its files. It ends after `steps` batches; rate: the learning rate before it cools.

    half: matrices are multiplied in bfloat16, twice as fast where a CPU has instructions for it and ten times slower
    where it has not. GPUs have them.
    """

    name: str
    steps: int
    batch: int
    rate: float
    half: bool = False


class Learner(nn.Module, ABC):
    """What a phase trains."""

    @property
    def given(self) -> Sequence[nn.Module]:
        """What it builds on: done learning, and no part of what is saved."""
        return ()

    @abstractmethod
    def examples(self, first: int, batch: int, apart: int) -> Iterator[Any]:
        """Endless batches of so many scenes, each beginning `apart` numbers after the one before, at `first`."""

    @abstractmethod
    def forward(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch and figures to log."""


def learning_rate(phase: Phase, step: int) -> float:
    """Linear warm-up, then constant, then over the last COOLING share of the steps down to a twentieth.

    So a run may be given more or fewer steps at any time before it cools: what it did so far stays what it would be.
    """
    warm = min(1.0, (step + 1) / WARMUP)
    left = (phase.steps - step) / max(1.0, COOLING * phase.steps)
    return phase.rate * warm * (0.05 + 0.95 * min(1.0, left))


def saved(folder: Path, name: str) -> dict[str, Tensor]:
    """What the phase of that name has learned so far. Raises FileNotFoundError where it has not begun."""
    state: dict[str, Tensor] = torch.load(folder / f"{name}.pt", map_location="cpu", weights_only=True)["model"]
    return state


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def _average(parameters: Sequence[nn.Parameter]) -> None:
    """Let every process have the mean of their gradients; one that a batch did not reach counts as zero."""
    if _processes() == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    together = nn.utils.parameters_to_vector([p.grad for p in parameters if p.grad is not None])
    dist.all_reduce(together)
    together /= _processes()
    start = 0
    for parameter in parameters:
        assert parameter.grad is not None
        parameter.grad.copy_(together[start : start + parameter.numel()].view_as(parameter))
        start += parameter.numel()


class _Stream(IterableDataset[Any]):
    """A learner's batches from a scene on, those of this process; every loading worker makes its share of them."""

    def __init__(self, learner: Learner, first: int, batch: int) -> None:
        self.learner, self.first, self.batch = learner, first, batch

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        index, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        apart = _processes() * self.batch
        first = self.first + _rank() * self.batch + index * apart
        return self.learner.examples(first, self.batch, workers * apart)


def own_device(device: torch.device) -> torch.device:
    """Of several GPUs the one that is this process's under `torchrun`."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if device == torch.device("cuda") else device


def moved(batch: Any, device: torch.device) -> Any:
    """A learner's batch with all of its tensors on the device."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{field.name: moved(getattr(batch, field.name), device) for field in fields(batch)})
    if isinstance(batch, list | tuple):
        return type(batch)(moved(each, device) for each in batch)
    return batch


def run(
    phase: Phase,
    model: Learner,
    folder: Path,
    first_scene: int,
    workers: int = 0,
    device: torch.device = torch.device("cpu"),
) -> None:
    """Steps to the phase's end, from its last saved state where there is one.

    workers: processes that compose batches; these are the same whatever their number. Under `torchrun` each process
    takes a batch of its own, and a step is made of all of them: two of one thread do more than one of two.

    The folder gets `NAME.pt` (weights, optimiser, step) every SAVE_EVERY steps and a line of figures in `NAME.jsonl`
    every LOG_EVERY.
    """
    for module in (model, *model.given):
        module.to(device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    chosen = optimisers(model.named_parameters())
    state_file, log_file = folder / f"{phase.name}.pt", folder / f"{phase.name}.jsonl"
    done = 0
    if state_file.exists():
        state = torch.load(state_file, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        for (optimiser, _), before in zip(chosen, state["optimisers"], strict=True):
            optimiser.load_state_dict(before)
        done = state["step"]
    stream = _Stream(model, first_scene + done * phase.batch * _processes(), phase.batch)
    batches = iter(DataLoader(stream, batch_size=None, num_workers=workers, generator=torch.Generator()))
    seen: dict[str, list[float]] = defaultdict(list)
    began = time.monotonic()
    for step in range(done, phase.steps):
        # So that a resumed run draws what an uninterrupted one would.
        torch.manual_seed(step * _processes() + _rank())
        batch = moved(next(batches), device)
        with torch.autocast(device.type, torch.bfloat16, enabled=phase.half), fastest(device):
            loss, figures = model(batch)
            model.zero_grad(set_to_none=True)
            loss.backward()
            _average(trained)
            nn.utils.clip_grad_norm_(trained, 1.0)
            for optimiser, share in chosen:
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(phase, step) * share
                optimiser.step()
        for name, value in ({"loss": loss.item()} | figures).items():
            if not math.isnan(value):
                seen[name].append(value)
        if _rank():
            continue
        if (step + 1) % LOG_EVERY == 0:
            means = {name: round(sum(values) / len(values), 4) for name, values in seen.items()}
            line = json.dumps({"step": step + 1, "seconds": round(time.monotonic() - began), **means})
            with log_file.open("a") as log:
                log.write(line + "\n")
            print(phase.name, line, flush=True)
            seen.clear()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == phase.steps:
            partial = state_file.with_suffix(".partial")
            memories = [optimiser.state_dict() for optimiser, _ in chosen]
            torch.save({"model": model.state_dict(), "optimisers": memories, "step": step + 1}, partial)
            partial.replace(state_file)
