"""The checkpoint's tokenizer: a `tokenizers` file plus the seven tokens that GLaMM adds to LLaMA's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

FILE = "tokenizer.json"
ADDED = ("<im_start>", "<im_end>", "<bbox>", "<point>", "[SEG]", "<p>", "</p>")
IMAGE = "<image>"
IMAGE_PLACEHOLDER = -200
"""Stands for the image's tokens in a sequence of ids, as in the reference."""


class GlammTokenizer:
    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises ValueError naming the token where the vocabulary lacks one that GLaMM needs."""
        self.tokenizer = tokenizer
        self.bos, self.eos = self._id("<s>"), self._id("</s>")
        self.bbox, self.seg = self._id("<bbox>"), self._id("[SEG]")
        self.phrase, self.phrase_end = self._id("<p>"), self._id("</p>")
        for token in ADDED:
            self._id(token)

    @classmethod
    def read(cls, checkpoint: Path) -> Self:
        return cls(Tokenizer.from_file(str(checkpoint / FILE)))

    @property
    def size(self) -> int:
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    def encode_prompt(self, prompt: str) -> list[int]:
        """Ids of a prompt around its `<image>`: pieces tokenised alone, one BOS in front, the placeholder between."""
        ids = [self.bos]
        for index, piece in enumerate(prompt.split(IMAGE)):
            if index:
                ids.append(IMAGE_PLACEHOLDER)
            ids.extend(self.encode(piece))
        return ids

    def encode(self, text: str) -> list[int]:
        """Ids of a text alone, without BOS or EOS."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text with its markup tokens; BOS, EOS and nothing else dropped."""
        kept = [token for token in ids if token not in (self.bos, self.eos)]
        return str(self.tokenizer.decode(kept, skip_special_tokens=False)).strip()

    def _id(self, token: str) -> int:
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"the tokenizer has no token {token!r}")
        return int(found)
