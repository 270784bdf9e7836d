"""GLaMM at a size that a test can afford: real model code with small random weights."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from shared.model import parts
from shared.model.checkpoint import load_part, save_part
from shared.model.config import ClipConfig, GlammConfig, LlmConfig, RegionConfig, SamConfig
from shared.model.random_weights import write_random
from shared.model.tokenizer import ADDED, GlammTokenizer

TINY = GlammConfig(
    name="tiny",
    clip=ClipConfig(image_size=56, patch_size=14, width=64, layers=4, heads=2, mlp_width=64, select_layer=-1),
    region=RegionConfig(
        levels=(-1, -2, -3, -4), scales=(4, 2, 1, 1), rounds=1, pooled=2, roi_image_size=56, position_width=32
    ),
    sam=SamConfig(
        image_size=64,
        width=32,
        depth=2,
        heads=2,
        global_attention=(1,),
        window=2,
        prompt_dim=32,
        decoder_mlp=64,
        iou_hidden=32,
    ),
    llm=LlmConfig(hidden=32, mlp_width=64, layers=2, heads=2, vocab_size=266, max_positions=16384),
)


def byte_tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<unk>", "<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<unk>", "<s>", "</s>", *ADDED)])
    return tokenizer


def write_checkpoint(folder: Path) -> Path:
    """Random weights, nudged so that answers hold many [SEG] and never end of themselves."""
    write_random(folder, TINY, byte_tokenizer().to_str(), seed=1)
    lmm = load_part(folder, "llm", parts.llm, torch.device("cpu"), torch.float32)
    tokenizer = GlammTokenizer.read(folder)
    head = lmm.llama.lm_head.weight
    head[tokenizer.seg] *= 40
    head[tokenizer.eos] = 0
    save_part(folder, "llm", lmm.state_dict())
    return folder
