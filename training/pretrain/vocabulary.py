"""The small model's tokenizer, trained on what is said of scenes."""

import re
from collections.abc import Iterator

from tokenizers import Tokenizer

from shared.model import conversation
from shared.model.tokenizer import ADDED, IMAGE
from training import tokenizer
from training.language.vocabulary import corpus
from training.language.world import usage

_MARKUP = re.compile("|".join(re.escape(token) for token in (*ADDED, IMAGE, conversation.END)))


def train_tokenizer(size: int) -> Tokenizer:
    """Raises ValueError where the corpus does not fill `size` tokens."""
    return tokenizer.train(_sentences(), size)


def _sentences() -> Iterator[str]:
    """Plain sentences: markup tokens never enter merges."""
    for text in corpus(usage("train")):
        yield _MARKUP.sub("", text)
