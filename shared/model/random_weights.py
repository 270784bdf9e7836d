"""A whole checkpoint of random weights, at any size and with the memory of one shard.

Answers of such a model mean nothing, but it costs exactly what a trained one of its sizes costs.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from shared.model import parts
from shared.model.checkpoint import CONFIG_FILE, empty
from shared.model.config import GlammConfig
from shared.model.shards import SHARD_BYTES, ShardWriter
from shared.model.tokenizer import FILE as TOKENIZER_FILE

Progress = Callable[[int, int], None]
"""Called with the number of weights written and their total."""

FOURIER = "positional_encoding_gaussian_matrix"


def write_random(
    folder: Path,
    config: GlammConfig,
    tokenizer_json: str,
    seed: int = 0,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float16,
    progress: Progress = lambda done, total: None,
) -> None:
    """Fills a folder. Each weight is drawn by itself, on `device`, from a seed of its own.

    The same seed gives the same weights on every device of a kind, whatever the other sizes of the model are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(config.to_json())
    (folder / TOKENIZER_FILE).write_text(tokenizer_json)
    modules = {part: empty(build, config) for part, build in parts.BUILDERS.items()}
    total = sum(len(module.state_dict()) for module in modules.values())
    done = 0
    for part, module in modules.items():
        writer = ShardWriter(folder, part, SHARD_BYTES)
        for name, tensor in _drawn(module, f"{seed} {part}", device or torch.device("cpu")):
            writer.add(name, tensor.to("cpu", dtype))
            done += 1
            progress(done, total)
        writer.close()


def _drawn(module: nn.Module, seed: str, device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """Norms leave their input as it is, biases are 0, and whatever multiplies keeps the size of what it is given."""
    for name, tensor in module.state_dict().items():
        if tensor.ndim > 1 or name.endswith("class_embedding"):
            digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
            generator = torch.Generator(device).manual_seed(int.from_bytes(digest[:8]) >> 1)
            spread = 1.0 if name.endswith(FOURIER) else 1 / math.sqrt(max(1, tensor[0].numel()))
            yield name, torch.randn(tensor.shape, generator=generator, device=device) * spread
        else:
            yield name, torch.full(tensor.shape, 0.0 if name.endswith("bias") else 1.0)
