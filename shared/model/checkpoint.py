"""A checkpoint folder: config.json, tokenizer.json and, for every part, its weights in one or more safetensors shards.

    config.json  tokenizer.json  vision.safetensors  llm-00001-of-00002.safetensors  llm-00002-of-00002.safetensors …

A worker reads the shards of its own part alone. Weights may be stored in half precision; they are computed in the
type that the caller asks for.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from shared.model import parts
from shared.model.config import GlammConfig
from shared.model.shards import SHARD_BYTES, ShardWriter
from shared.model.tokenizer import FILE as TOKENIZER_FILE
from shared.model.tokenizer import GlammTokenizer

CONFIG_FILE = "config.json"
SHARD_NAME = re.compile(r"^(?P<part>[a-z]+)(-(?P<index>\d{5})-of-(?P<count>\d{5}))?\.safetensors$")

Part = TypeVar("Part", bound=nn.Module)


class CheckpointError(Exception):
    """A checkpoint folder that cannot be used; the message names the file or key and what to do."""


def read_config(folder: Path) -> GlammConfig:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} is no checkpoint: it has no {CONFIG_FILE}")
    try:
        return GlammConfig.read(path)
    except (ValueError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_tokenizer(folder: Path) -> GlammTokenizer:
    """Raises CheckpointError where there is none, or it does not fit the embeddings."""
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} is no checkpoint: it has no {TOKENIZER_FILE}")
    try:
        tokenizer = GlammTokenizer.read(folder)
    except Exception as error:  # tokenizers raises nothing narrower
        raise CheckpointError(f"{path} cannot be used: {error}") from error
    wanted = read_config(folder).llm.vocab_size
    if tokenizer.size != wanted:
        raise CheckpointError(f"{path} has {tokenizer.size} tokens, {CONFIG_FILE} says {wanted}")
    return tokenizer


def load_part(
    folder: Path, part: str, build: Callable[[GlammConfig], Part], device: torch.device, dtype: torch.dtype
) -> Part:
    """One part with its weights, in eval mode. Raises CheckpointError naming a missing, unknown or misshapen key."""
    config = read_config(folder)
    module = empty(build, config)
    expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
    state: dict[str, Tensor] = {}
    for path in shards(folder, part):
        read = _read_shard(path, expected, device, dtype)
        if twice := sorted(read.keys() & state.keys()):
            raise CheckpointError(f"{path}: {twice[0]!r} is in an earlier shard already")
        state |= read
    missing = sorted(expected.keys() - state.keys())
    if missing:
        raise CheckpointError(f"{folder}: part {part!r} lacks the weights {', '.join(missing[:5])}")
    return fill(module, state, device)


def empty(build: Callable[[GlammConfig], Part], config: GlammConfig) -> Part:
    """A part without memory, for `fill`: drawing weights that are replaced at once would take minutes at full size.

    Raises CheckpointError where the config's sizes do not fit together.
    """
    try:
        with torch.device("meta"):
            return build(config)
    except (ArithmeticError, AssertionError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"the sizes in {CONFIG_FILE} make no {build.__name__} part: {error}") from error


def fill(module: Part, state: Mapping[str, Tensor], device: torch.device) -> Part:
    """Gives an empty part its weights, which lie on `device`, and whatever follows from its sizes; in eval mode."""
    module.load_state_dict(state, assign=True)
    _materialise_buffers(module, device)
    return module.eval().requires_grad_(False)


def save_part(folder: Path, part: str, state: Mapping[str, Tensor], dtype: torch.dtype = torch.float16) -> None:
    """Writes a part's weights, split into shards of at most SHARD_BYTES."""
    writer = ShardWriter(folder, part, SHARD_BYTES)
    for name, tensor in state.items():
        writer.add(name, tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype))
    writer.close()


def shards(folder: Path, part: str) -> list[Path]:
    """The part's shard files in order. Raises CheckpointError where one is missing."""
    found: dict[int, Path] = {}
    counts: dict[int, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        name = SHARD_NAME.match(path.name)
        if name and name["part"] == part:
            found[int(name["index"] or 1)] = path
            counts[int(name["count"] or 1)] = path
    if len(counts) > 1:
        one, other = sorted(path.name for path in counts.values())[:2]
        raise CheckpointError(f"{folder}: {one} and {other} do not belong together; remove the one that is left over")
    count = next(iter(counts), 1)
    missing = [index for index in range(1, count + 1) if index not in found]
    if missing:
        raise CheckpointError(f"{folder}: shard {missing[0]} of {count} of part {part!r} is missing")
    return [found[index] for index in range(1, count + 1)]


def fingerprint(folder: Path) -> str:
    """Sixteen hex digits that name these weights: features made by one checkpoint are never read by another.

    Costs no read of the weights: each shard's header carries the digest of its tensors, written by `save_part`.
    """
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, TOKENIZER_FILE):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is no checkpoint: it has no {name}")
        digest.update((folder / name).read_bytes())
    for part in parts.BUILDERS:
        for path in shards(folder, part):
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            if "sha256" not in metadata:
                raise CheckpointError(f"{path} carries no digest of its weights; write it with `save_part`")
            digest.update(metadata["sha256"].encode())
    return digest.hexdigest()[:16]


def _read_shard(
    path: Path, expected: Mapping[str, torch.Size], device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    state = {}
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                if name not in expected:
                    raise CheckpointError(f"{path}: unknown weight {name!r}")
                tensor = file.get_tensor(name)
                if tensor.shape != expected[name]:
                    found, wanted = tuple(tensor.shape), tuple(expected[name])
                    raise CheckpointError(f"{path}: {name!r} has shape {found}, config.json asks for {wanted}")
                if not tensor.is_floating_point():
                    raise CheckpointError(f"{path}: {name!r} holds whole numbers, which are no weights")
                state[name] = tensor.to(dtype)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    return state


def _materialise_buffers(module: nn.Module, device: torch.device) -> None:
    """Gives real values to LLaMA's rotary frequencies, which no state_dict carries.

    They follow from the config alone and stay in float32, as transformers keeps them.
    """
    for name, child in module.named_modules():
        stale = [key for key, buffer in child.named_buffers(recurse=False) if buffer.is_meta]
        if not stale:
            continue
        # By name, so that a worker without an LLM need not import transformers.
        if type(child).__name__ != "LlamaRotaryEmbedding":
            raise CheckpointError(f"nothing gives a value to the buffer {name}.{stale[0]}")
        with torch.device(device):
            fresh = type(child)(child.config)
        for key in stale:
            setattr(child, key, getattr(fresh, key))
