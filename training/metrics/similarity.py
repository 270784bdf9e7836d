"""Whether two phrases mean the same, as a number up to 1.

The paper's released code compares BERT's vectors, which need the weights of bert-base-uncased. Where they are not at
hand a lexical measure takes their place: it needs nothing, and is stricter, because it sees words and not meaning.
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import snowballstemmer

from shared.errors import InvalidInput, InvalidSettings
from training.metrics.captions import tokens
from training.metrics.masks import Overlaps

_GRAM = 3
_LITTLE_WORDS = frozenset(("a", "an", "the", "this", "that", "these", "those", "some", "of"))


class Similarity(Protocol):
    @property
    def name(self) -> str:
        """What a report calls it."""

    def between(self, found: Sequence[str], wanted: Sequence[str]) -> Overlaps:
        """(found, wanted): the similarity of each phrase with each."""


class Lexical:
    """The cosine of counts of word stems and of the letter triples in them; words such as `the` do not count.

    1 for the same words in any form or order, 0.49 for a man and a man in a red shirt, 0 for a car and an automobile.
    """

    name = "lexical (cosine of word stems and letter triples)"

    def __init__(self) -> None:
        self._stem = snowballstemmer.stemmer("english").stemWord
        self._counts = lru_cache(maxsize=1 << 16)(self._count)

    def between(self, found: Sequence[str], wanted: Sequence[str]) -> Overlaps:
        rows = [[_cosine(self._counts(one), self._counts(other)) for other in wanted] for one in found]
        return np.array(rows, dtype=np.float64).reshape(len(found), len(wanted))

    def _count(self, phrase: str) -> Counter[str]:
        words = tokens(phrase)
        stems = [self._stem(word) for word in words if word not in _LITTLE_WORDS] or words
        counts = Counter(f"{stem} " for stem in stems)
        for stem in stems:
            padded = f"^{stem}$"
            counts.update(padded[n : n + _GRAM] for n in range(len(padded) - _GRAM + 1))
        return counts


class Bert:
    """The cosine of the means of BERT's last states, [CLS] and [SEP] among them: the measure of the released code."""

    name = "BERT (cosine of mean last states)"

    def __init__(self, folder: Path) -> None:
        """folder: bert-base-uncased in Hugging Face's layout; nothing is fetched."""
        if not (folder / "config.json").is_file():
            raise InvalidInput(
                "--bert", f"{folder} holds no model.", "Name a folder with bert-base-uncased, config.json and all."
            )
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise InvalidSettings(
                "--bert needs torch and transformers.", remedy="Install this project with its extra `model`."
            ) from None
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InvalidInput("--bert", f"{folder} cannot be read: {reason}", "Name a complete folder.") from error
        self._vector = lru_cache(maxsize=1 << 16)(self._encode)

    def between(self, found: Sequence[str], wanted: Sequence[str]) -> Overlaps:
        if not found or not wanted:
            return np.zeros((len(found), len(wanted)))
        one, other = (np.stack([self._vector(phrase) for phrase in phrases]) for phrases in (found, wanted))
        return np.asarray(one @ other.T, dtype=np.float64)

    def _encode(self, phrase: str) -> Overlaps:
        """A vector of length 1."""
        import torch

        with torch.inference_mode():
            states = self._model(**self._tokenizer(phrase, return_tensors="pt", truncation=True)).last_hidden_state
        mean = states[0].mean(dim=0).double().numpy()
        return np.asarray(mean / np.linalg.norm(mean))


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    shared = sum(count * other[part] for part, count in one.items())
    norms = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    return shared / norms if norms else 0.0
