"""The network that a training begins with, and the checkpoint folder that it ends with."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from shared.errors import InvalidInput
from shared.model import parts
from shared.model.checkpoint import CONFIG_FILE, CheckpointError, load_part, read_config, save_part
from shared.model.config import GlammConfig
from shared.model.tokenizer import FILE as TOKENIZER_FILE
from shared.model.tokenizer import GlammTokenizer
from shared.stages.device import resolve_dtype
from training.config import ModelConfig, TrainingConfig
from training.network import GlammNetwork, LossWeights
from training.trained import choose_trained, merged_state

CPU = torch.device("cpu")

Part = TypeVar("Part", bound=nn.Module)


def build_network(config: TrainingConfig) -> GlammNetwork:
    """On the CPU, with its adapters. Raises InvalidInput naming the field where the model cannot be had."""
    torch.manual_seed(config.seed)
    weights = LossWeights(**config.losses.model_dump())
    try:
        sizes, tokenizer = read_sizes(config.model)
        vision = _part(config.model, sizes, "vision", parts.vision)
        lmm = _part(config.model, sizes, "llm", parts.llm)
        pixel = _part(config.model, sizes, "pixel", parts.pixel)
    except (CheckpointError, ValueError, OSError) as error:
        raise InvalidInput("model", str(error), "give a checkpoint folder, a preset or a file of sizes") from error
    network = GlammNetwork(sizes, tokenizer, vision, lmm, pixel, weights)
    try:
        choose_trained(network, config.trained, resolve_dtype(config.precision))
    except ValueError as error:
        raise InvalidInput("trained.lora.targets", str(error), "name some of these") from error
    if config.gradient_checkpointing:
        llama: Any = network.lmm.llama
        # The second name is what older releases of transformers call it.
        enable = getattr(llama, "activation_checkpointing_enable", None) or llama.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return network


def read_sizes(model: ModelConfig) -> tuple[GlammConfig, GlammTokenizer]:
    """Raises CheckpointError, ValueError or OSError where one of the files is not there or not right."""
    if model.checkpoint is not None:
        return read_config(model.checkpoint), _tokenizer(model.checkpoint)
    tokenizer = _tokenizer(model.tokenizer)
    sizes = GlammConfig.read(model.sizes) if model.sizes is not None else GlammConfig.preset(str(model.preset))
    return dataclasses.replace(sizes, llm=dataclasses.replace(sizes.llm, vocab_size=tokenizer.size)), tokenizer


def write_checkpoint(network: GlammNetwork, folder: Path) -> None:
    """The network as a checkpoint that the service loads, its adapters merged."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(network.config.to_json(), encoding="utf-8")
    network.tokenizer.tokenizer.save(str(folder / TOKENIZER_FILE))
    for part, module in network.groups.items():
        save_part(folder, part, merged_state(module))


def _part(model: ModelConfig, sizes: GlammConfig, name: str, build: Callable[[GlammConfig], Part]) -> Part:
    if model.checkpoint is None:
        return build(sizes)
    return load_part(model.checkpoint, name, build, CPU, torch.float32)


def _tokenizer(folder: Path) -> GlammTokenizer:
    if not (folder / TOKENIZER_FILE).is_file():
        raise CheckpointError(f"{folder} is no checkpoint: it has no {TOKENIZER_FILE}")
    return GlammTokenizer.read(folder)
