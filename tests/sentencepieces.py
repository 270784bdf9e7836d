"""A `tokenizer.model` like LLaMA's, trained in a moment."""

import io
from pathlib import Path

from sentencepiece import SentencePieceTrainer

from shared.model import stand_in_tokenizer

CORPUS = [
    *stand_in_tokenizer.PROMPTS,
    "A brown dog stands on the grass beside a red ball.",
    "Two people are walking along the beach under a blue sky.",
    "Où est le chat? Il dort sur la chaise, près de la fenêtre.",
    "1234567890 images, 64 boxes and 3 masks: (0.5, 0.25) [x1, y1]",
    "def encode(text):    return text",
] * 20


def train(path: Path, **options: object) -> Path:
    """A model as LLaMA's was trained, but small: byte-pair merges, byte fallback, digits and spaces as they are."""
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        minloglevel=2,
        **{
            "model_type": "bpe",
            "vocab_size": 420,
            "character_coverage": 0.98,
            "byte_fallback": True,
            "split_digits": True,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "allow_whitespace_only_pieces": True,
        }
        | options,
    )
    path.write_bytes(model.getvalue())
    return path
