"""Phrase grounding as decoding under a script: the answer is a given caption with its phrases marked.

Whatever weights answer, the caption comes back word for word. Where the phrases are given, so is every token, and the
model only reads along. Otherwise its own scores decide, wherever a phrase may begin or end, between the caption's next
token and the mark. The vector of a [SEG] is read as in any answer, from the state that has just read the phrase.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.model.grounding import NO_SPACE_BEFORE
from shared.model.tokenizer import GlammTokenizer

# What stands before an answer in the prompt: a tokenizer may treat the very beginning of a text in another way.
LEAD = "ASSISTANT:"
# Three marks, and the tokens more that the words behind a mark may take.
COST_OF_A_PHRASE = 7


class Script(Protocol):
    """What an answer has to be."""

    text: str
    """What was said so far, with its markup."""

    @property
    def remaining(self) -> int:
        """How many tokens the answer takes at most if no further phrase is chosen, EOS included."""
        ...

    def allowed(self, room: int) -> tuple[int, ...]:
        """The tokens among which the model chooses, of `room` that are left to it."""
        ...

    def take(self, token: int) -> None:
        """Go on behind a token, one of those allowed."""
        ...


def script(tokenizer: GlammTokenizer, caption: str, spans: Sequence[tuple[int, int]] | None) -> Script:
    """spans: the phrases as (start, end) of the caption, one behind the other; None: the model's choice."""
    return ChosenPhrases(tokenizer, caption) if spans is None else GivenPhrases(tokenizer, caption, spans)


class GivenPhrases:
    """Nothing is left to choose."""

    def __init__(self, tokenizer: GlammTokenizer, caption: str, spans: Sequence[tuple[int, int]]) -> None:
        self.text, at = "", 0
        for start, end in spans:
            self.text += f"{caption[at:start]}<p> {caption[start:end]} </p> [SEG]"
            at = end
        self.text += caption[at:]
        ids = tokenizer.encode(f"{LEAD} {self.text}")[len(tokenizer.encode(LEAD)) :]
        self._ids = deque([*ids, tokenizer.eos])

    @property
    def remaining(self) -> int:
        return len(self._ids)

    def allowed(self, room: int) -> tuple[int, ...]:
        return (self._ids[0],)

    def take(self, token: int) -> None:
        self._ids.popleft()


@dataclass(frozen=True)
class _Piece:
    """A token of the caption. begin, end: characters of the caption that it stands for."""

    token: int
    begin: int
    end: int


class ChosenPhrases:
    """Phrases begin and end where words do, and none goes on behind a mark of punctuation."""

    def __init__(self, tokenizer: GlammTokenizer, caption: str) -> None:
        self._tokenizer, self._caption = tokenizer, caption
        self.text = ""
        self._at = 0
        self._opened: int | None = None
        self._owes_seg = False
        self._plain = self._read(f"{LEAD} ", 0, len(caption))
        self._pieces = deque(self._plain)

    @property
    def remaining(self) -> int:
        return len(self._pieces) + (self._opened is not None) * 2 + self._owes_seg + 1

    def allowed(self, room: int) -> tuple[int, ...]:
        marks = self._tokenizer
        if self._owes_seg:
            return (marks.seg,)
        following = (self._pieces[0].token,) if self._pieces else ()
        if self._opened is not None:
            if not self._may_close():
                return following
            return (marks.phrase_end,) if self._must_close() else (*following, marks.phrase_end)
        if self._may_open() and room >= self.remaining + COST_OF_A_PHRASE:
            return (*following, marks.phrase)
        return following or (marks.eos,)

    def take(self, token: int) -> None:
        marks = self._tokenizer
        if token == marks.phrase:
            self._at = self._opened = self._next_word()
            self.text = f"{self.text} <p> ".lstrip()
            self._read_anew("<p> ")
        elif token == marks.phrase_end:
            self._opened, self._owes_seg = None, True
            self.text += " </p>"
        elif token == marks.seg:
            self._owes_seg = False
            self.text += " [SEG]"
            self._read_anew("[SEG]")
        elif token != marks.eos:
            piece = self._pieces.popleft()
            self.text += self._caption[self._at : piece.end]
            self._at = max(self._at, piece.end)

    def _read_anew(self, mark: str) -> None:
        """Behind a mark the next word may have other tokens than in plain text; those after it have the same."""
        word = self._next_word()
        chunk = self._caption[word:].split(maxsplit=1)
        blank = word + len(chunk[0]) if chunk else word
        self._pieces = deque(self._read(mark, self._at, blank))
        self._pieces.extend(piece for piece in self._plain if piece.end > blank)

    def _read(self, lead: str, start: int, end: int) -> list[_Piece]:
        """The tokens of caption[start:end] as the model reads them behind `lead`."""
        encoded = self._tokenizer.tokenizer.encode(lead + self._caption[start:end], add_special_tokens=False)
        skipped = len(self._tokenizer.encode(lead.rstrip()))
        shift = start - len(lead)
        return [
            _Piece(token, max(start, first + shift), max(start, last + shift))
            for token, (first, last) in zip(encoded.ids[skipped:], encoded.offsets[skipped:], strict=True)
        ]

    def _next_word(self) -> int:
        """Where the next visible character stands; the caption's length at its end."""
        rest = self._caption[self._at :]
        return self._at + len(rest) - len(rest.lstrip())

    def _between_characters(self) -> bool:
        """Whether every byte of the last character was said: one may take several tokens."""
        return not self._pieces or self._pieces[0].end > self._at

    def _may_open(self) -> bool:
        word = self._next_word()
        if not self._pieces or not self._between_characters() or not (self._at < word or self._at == 0):
            return False
        return self._caption[word].isalnum()

    def _may_close(self) -> bool:
        if self._at == self._opened or not self._between_characters():
            return False
        following = self._caption[self._at : self._at + 1]
        return not following or following.isspace() or following in NO_SPACE_BEFORE

    def _must_close(self) -> bool:
        """A phrase ends where the caption or one of its clauses does."""
        following = self._caption[self._at : self._at + 2]
        return not following or (following[0] in NO_SPACE_BEFORE and not following[1:].strip())
