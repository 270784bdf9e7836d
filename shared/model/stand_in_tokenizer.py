"""A tokenizer of any wanted size where the real one is not at hand: for models of random weights.

Byte-pair merges of the project's own prompts, so that a prompt takes about as many positions as with LLaMA's; a token
for every byte, so that any text can be read; and numbered words that no text holds, up to the size. Entry 0, 1 and 2
and the seven last ones are LLaMA's and GLaMM's special tokens.
"""

import json

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers

from shared.model import conversation
from shared.model.tokenizer import ADDED

SPECIAL = ("<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
SPACE = "▁"
SMALLEST = len(SPECIAL) + len(BYTES) + len(ADDED)
PROMPTS = (
    conversation.SYSTEM,
    conversation.OVERVIEW,
    conversation.GCG,
    conversation.REGION_CAPTION,
    conversation.REFSEG,
    conversation.CAPTION,
    "USER: ASSISTANT:",
)


def make(size: int) -> str:
    """The JSON of a tokenizer with exactly `size` entries. Raises ValueError below SMALLEST."""
    if size < SMALLEST:
        raise ValueError(f"a vocabulary of {size} has no room for {SMALLEST} special tokens and bytes")
    plain = size - len(ADDED)
    learned = json.loads(_learned(plain).to_str())["model"]
    pieces = list(learned["vocab"]) + [f"{SPACE}word{number}" for number in range(plain)]
    vocabulary = {piece: index for index, piece in enumerate(pieces[:plain])}
    merges = [(left, right) for left, right in learned["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token=SPECIAL[0], fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence(
        # Bytes first: in the smallest vocabularies the space itself is made of them.
        [decoders.ByteFallback(), decoders.Fuse(), decoders.Replace(SPACE, " "), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    tokenizer.add_special_tokens(
        [AddedToken(token, lstrip=True, rstrip=True, normalized=False, special=True) for token in ADDED]
    )
    return str(tokenizer.to_str())


def _learned(size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[0], byte_fallback=True))
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[*SPECIAL, *BYTES], show_progress=False, min_frequency=1
    )
    words = [SPACE + word for prompt in PROMPTS for word in prompt.split()]
    tokenizer.train_from_iterator(words, trainer)
    return tokenizer
