"""Trains a small checkpoint's tokenizer: byte-fallback BPE with LLaMA's special tokens and GLaMM's seven added ones."""

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from shared.model.tokenizer import ADDED

SPECIAL = ("<unk>", "<s>", "</s>")


def train(corpus: Iterable[str], size: int) -> Tokenizer:
    """A tokenizer of exactly `size` entries, added tokens included and last, as on top of LLaMA's vocabulary.

    Raises ValueError where the corpus has too few pairs to fill it.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation("isolated")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    # Bytes that no merge covers still have a token each, so that any client's prompt can be read.
    byte_tokens = [f"<0x{value:02X}>" for value in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(ADDED), special_tokens=[*SPECIAL, *byte_tokens], show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    # The byte tokens are plain vocabulary; as special tokens the trainer would match them inside texts.
    tokenizer = _without_special_bytes(tokenizer, byte_tokens)
    # Markup swallows the space on its left: words then keep one form with or without markup before them.
    tokenizer.add_special_tokens([AddedToken(token, lstrip=True, normalized=False) for token in ADDED])
    if tokenizer.get_vocab_size() != size:
        raise ValueError(f"the corpus gives {tokenizer.get_vocab_size()} tokens, {size} wanted")
    return tokenizer


def _without_special_bytes(tokenizer: Tokenizer, byte_tokens: list[str]) -> Tokenizer:
    raw = json.loads(tokenizer.to_str())
    raw["added_tokens"] = [token for token in raw["added_tokens"] if token["content"] not in byte_tokens]
    return Tokenizer.from_str(json.dumps(raw))
