"""The training itself: steps over the mixture, on one process or many, from where the last run stopped."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import GradientAccumulationPlugin
from torch import Tensor
from torch.utils.data import DataLoader

from shared.errors import InvalidInput
from shared.stages.device import resolve_dtype
from training.attention import fastest
from training.batches import Batch, Batcher, BatchStream, Unusable
from training.config import TrainingConfig
from training.data.mixture import Mixture, Share
from training.data.sample import REMEDY
from training.report import Reporter
from training.schedule import rate_share
from training.sources import open_sources
from training.start import build_network, write_checkpoint
from training.state import State, load_state
from training.trained import trained_parameters
from training.validation import LOSSES, Validation

PRECISIONS = {"float32": "no", "bfloat16": "bf16"}
CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Outcome:
    """losses: the mean loss of every step of this run, not of those before it was resumed.

    validation: the figures after the last step, where the config asks for any.
    """

    checkpoint: Path
    losses: tuple[float, ...]
    validation: dict[str, float]


class Training:
    def __init__(self, config: TrainingConfig) -> None:
        """Opens everything and starts nothing. Raises InvalidInput where a file, a record or a field is wrong."""
        self.config = config
        self.accelerator = Accelerator(
            cpu=config.device == "cpu",
            mixed_precision=PRECISIONS[config.precision],
            # Given as a plugin, since `accelerate launch` overrides a plain number by its own default of 1.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=config.batch.accumulation),
            # A batch without boxes leaves the region encoder out, one without masks the mask decoder.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        self._state = load_state(config.output, config.same_run())
        self.network = build_network(config)
        self._trained = trained_parameters(self.network)
        batcher = Batcher(self.network.config, self.network.tokenizer, config.batch.max_length)
        self._open_data(batcher)
        optimiser = torch.optim.AdamW(
            self._trained.values(),
            lr=config.optimiser.rate,
            betas=config.optimiser.betas,
            weight_decay=config.optimiser.weight_decay,
        )
        if self._state is not None:
            self.network.load_state_dict(self._state.trained, strict=False)
        self._wrapped, self.optimiser = self.accelerator.prepare(self.network, optimiser)
        if self._state is not None:
            self.optimiser.load_state_dict(self._state.optimiser)

    def run(self) -> Outcome:
        """Steps to the config's end, then the checkpoint."""
        config, first = self.config, self._state.step if self._state is not None else 0
        self.network.train()
        losses, figures = list[float](), dict[str, float]()
        batches = self._batches(first)
        with Reporter(config.output, first, config.schedule.steps, self.accelerator.is_main_process) as reporter:
            for step in range(first, config.schedule.steps):
                told = self._step(step, batches)
                losses.append(told["loss"])
                done = step + 1
                last = done == config.schedule.steps
                if done % config.log_every == 0 or last:
                    reporter.log("train", done, told | {"rate": self._rate(step)})
                else:
                    reporter.advance(done)
                if self._validation is not None and (done % self._validation.config.every == 0 or last):
                    figures = self._validation.run(self.network, self.accelerator)
                    reporter.log("validation", done, figures)
                if done % config.save_every == 0 or last:
                    self._save(done)
        checkpoint = config.output / CHECKPOINT
        if self.accelerator.is_main_process:
            write_checkpoint(self.network, checkpoint)
        self.accelerator.wait_for_everyone()
        return Outcome(checkpoint, tuple(losses), figures)

    def _open_data(self, batcher: Batcher) -> None:
        config = self.config
        checked = config.validation.data if config.validation is not None else []
        config.output.mkdir(parents=True, exist_ok=True)
        self._mixture = Mixture(open_sources(config.data, "data"), config.seed)
        self._batcher = batcher
        self._validation: Validation | None = None
        if config.validation is not None:
            opened = open_sources(checked, "validation.data", for_validation=True)
            datasets = [dataset for dataset, _ in opened]
            self._validation = Validation(datasets, config.validation, batcher, resolve_dtype(config.precision))

    def _batches(self, step: int) -> Iterator[Batch]:
        batch, accelerator = self.config.batch, self.accelerator
        share = Share(batch.per_device, batch.accumulation, accelerator.process_index, accelerator.num_processes)
        stream = BatchStream(self._mixture, self._batcher, share, step)
        # With a generator of its own: a loader that opens draws a number, which must not come out of a step's.
        loader = DataLoader(stream, batch_size=None, num_workers=batch.workers, generator=torch.Generator())
        for made in loader:
            if isinstance(made, Unusable):
                raise InvalidInput(made.field, made.detail, REMEDY)
            yield made

    def _step(self, step: int, batches: Iterator[Batch]) -> dict[str, float]:
        """One step of the optimiser; the mean losses over its batches and all processes."""
        accelerator, config = self.accelerator, self.config
        torch.manual_seed(self._seed(step))
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(step)
        total = torch.zeros(len(LOSSES), device=accelerator.device)
        for _ in range(config.batch.accumulation):
            with accelerator.accumulate(self._wrapped), fastest(accelerator.device):
                losses: dict[str, Tensor] = self._wrapped(next(batches).to(accelerator.device))
                accelerator.backward(losses["loss"])
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self._trained.values(), config.optimiser.clip_norm)
                self.optimiser.step()
                self.optimiser.zero_grad()
            total += torch.stack([losses[name].detach().float() for name in LOSSES])
        means = accelerator.reduce(total, "mean") / config.batch.accumulation
        return dict(zip(LOSSES, means.tolist(), strict=True))

    def _rate(self, step: int) -> float:
        return self.config.optimiser.rate * rate_share(self.config.schedule, step)

    def _seed(self, step: int) -> int:
        """Of what is random within a step, such as dropout: another for each process."""
        key = [self.config.seed, step, self.accelerator.process_index]
        return int(np.random.SeedSequence(key).generate_state(1)[0])

    def _save(self, step: int) -> None:
        if self.accelerator.is_main_process:
            trained = {name: parameter.detach().cpu() for name, parameter in self._trained.items()}
            State(step, trained, self.optimiser.state_dict(), self.config.same_run()).save(self.config.output)
        self.accelerator.wait_for_everyone()


def fit(config: TrainingConfig) -> Outcome:
    """A whole training. Raises InvalidInput before the first step where the config or its files are wrong."""
    return Training(config).run()
