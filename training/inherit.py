"""Beginning a training with the weights of a checkpoint, whose vocabulary may be another."""

from pathlib import Path

import torch
from torch import Tensor

from shared.model import parts
from shared.model.checkpoint import load_part
from shared.model.tokenizer import GlammTokenizer
from training.whole import GlammTrainer

VOCABULARIES = ("llama.model.embed_tokens.weight", "llama.lm_head.weight")


def inherit(model: GlammTrainer, checkpoint: Path, tokenizer: GlammTokenizer) -> None:
    """Give the model the checkpoint's weights. A token that both vocabularies have keeps its row in both matrices.

    Raises CheckpointError where the folder is no checkpoint, RuntimeError where its sizes are others.
    """
    cpu = torch.device("cpu")
    model.vision.load_state_dict(load_part(checkpoint, "vision", parts.vision, cpu, torch.float32).state_dict())
    model.pixel.load_state_dict(load_part(checkpoint, "pixel", parts.pixel, cpu, torch.float32).state_dict())
    state = load_part(checkpoint, "llm", parts.llm, cpu, torch.float32).state_dict()
    fresh = model.lmm.state_dict()
    for name in VOCABULARIES:
        state[name] = _carried(state[name], fresh[name], GlammTokenizer.read(checkpoint), tokenizer)
    model.lmm.load_state_dict(state)


def _carried(old: Tensor, new: Tensor, before: GlammTokenizer, after: GlammTokenizer) -> Tensor:
    rows = new.clone()
    known = before.tokenizer.get_vocab()
    for token, index in after.tokenizer.get_vocab().items():
        if token in known:
            rows[index] = old[known[token]]
    return rows
