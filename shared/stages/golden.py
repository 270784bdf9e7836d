"""A golden folder: weights under the reference's own names (config.json, model.safetensors) and what it computed.

record.safetensors holds inputs and outputs by step. Beside sizes, config.json says the ids of special tokens and the
image's original and resized size.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from torch import Tensor

from shared.model.checkpoint import CONFIG_FILE, CheckpointError
from shared.model.config import GlammConfig
from shared.model.tokenizer import GlammTokenizer

RECORD_FILE = "record.safetensors"
INPUTS = frozenset(
    {
        "clip_pixel_values",
        "sam_pixel_values",
        "boxes_normalized",
        "forced.input_ids",
        "greedy.input_ids",
        "loss.labels",
        "loss.gt_masks",
    }
)
TRAINING = "loss."
"""What the trainer computes; no stage does, so its own tests compare it."""


class Record:
    """original, resized: sizes (height, width) of the image that the steps were recorded with."""

    def __init__(self, folder: Path, config: GlammConfig) -> None:
        """Raises CheckpointError naming what is missing from the folder or unreadable."""
        self.config = config
        self._path = folder / RECORD_FILE
        try:
            self._tensors = load_file(self._path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{self._path} is not a readable record: {error}") from error
        if not self.steps:
            raise CheckpointError(f"{self._path} holds no step of the model")
        raw: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text())
        try:
            self.original, self.resized = _size(raw["original_size"]), _size(raw["resized_size"])
            self.tokenizer = _stand_in(raw["tokens"], raw.get("llm", {}), config.llm.vocab_size)
        except KeyError as error:
            raise CheckpointError(f"{folder / CONFIG_FILE} lacks {error.args[0]!r}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{folder / CONFIG_FILE}: {error}") from error

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise CheckpointError(f"{self._path} lacks {name!r}")
        return self._tensors[name]

    @property
    def steps(self) -> set[str]:
        """Names of the outputs that a stage computes."""
        return {name for name in self._tensors if name not in INPUTS and not name.startswith(TRAINING)}

    @property
    def training_steps(self) -> tuple[str, ...]:
        """Names of the outputs that only a trainer computes."""
        return tuple(name for name in self._tensors if name.startswith(TRAINING) and name not in INPUTS)

    @property
    def positions(self) -> int:
        """How many the longest recorded sequence takes, or a few more."""
        ids = (self._tensors.get(f"{name}_ids") for name in ("forced.input", "greedy.output"))
        return self.config.clip.tokens + max((found.shape[-1] for found in ids if found is not None), default=0)

    @property
    def boxes(self) -> Tensor:
        """(n, 4) xyxy in 0..1; none where the record has none."""
        return self._tensors.get("boxes_normalized", torch.zeros(0, 4))


def _size(raw: Any) -> tuple[int, int]:
    height, width = raw
    return int(height), int(width)


def _stand_in(tokens: dict[str, Any], llm: dict[str, Any], size: int) -> GlammTokenizer:
    """A tokenizer with the record's special ids; a record holds ids, so no text is ever tokenised."""
    special = {int(i): "[SEG]" if name == "seg" else f"<{name}>" for name, i in tokens.items()}
    special |= {int(llm.get("bos_token_id", 1)): "<s>", int(llm.get("eos_token_id", 2)): "</s>"}
    vocabulary = {special.get(i, f"token{i}"): i for i in range(size)}
    return GlammTokenizer(Tokenizer(models.WordLevel(vocabulary, unk_token="token0")))
