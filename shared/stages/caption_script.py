"""Phrase grounding as decoding under a script: the answer is a given caption, and the model chooses its phrases.

Whatever weights answer, the caption comes back word for word. Where a phrase may begin or end the model's own scores
decide between the caption's next token and the mark; elsewhere there is nothing to choose. The vector of a [SEG] is
read as in any answer, from the state that has just read the phrase.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.model.grounding import NO_SPACE_BEFORE
from shared.model.tokenizer import GlammTokenizer

# What stands before an answer in the prompt: a tokenizer may treat the very beginning of a text in another way.
LEAD = "ASSISTANT:"
MARKS_OF_A_PHRASE = 3


@dataclass(frozen=True)
class _Piece:
    """A token of the caption's rest. begin, end: characters of the caption that it stands for."""

    token: int
    begin: int
    end: int


class CaptionScript:
    """What an answer may say next. spans: the phrases as (start, end) of the caption; None: the model's choice."""

    def __init__(self, tokenizer: GlammTokenizer, caption: str, spans: Sequence[tuple[int, int]] | None = None) -> None:
        self._tokenizer, self._caption = tokenizer, caption
        self._ends = None if spans is None else dict(spans)
        self.text = ""
        self._at = 0
        self._opened: int | None = None
        self._owes_seg = False
        self._pieces = self._rest()

    @property
    def remaining(self) -> int:
        """How many tokens the answer takes at least from here to its end, EOS included."""
        coming = 0 if self._ends is None else sum(start >= self._at for start in self._ends)
        owed = (self._opened is not None) * 2 + self._owes_seg
        return len(self._pieces) + MARKS_OF_A_PHRASE * coming + owed + 1

    def allowed(self, room: int) -> tuple[int, ...]:
        """The tokens among which the model chooses, of `room` that are left to it."""
        marks = self._tokenizer
        if self._owes_seg:
            return (marks.seg,)
        following = (self._pieces[0].token,) if self._pieces else ()
        if self._opened is not None:
            if not self._may_close():
                return following
            return (marks.phrase_end,) if self._must_close() else (*following, marks.phrase_end)
        if self._may_open():
            if self._ends is not None:
                return (marks.phrase,)
            if room >= self.remaining + MARKS_OF_A_PHRASE:
                return (*following, marks.phrase)
        return following or (marks.eos,)

    def take(self, token: int) -> None:
        """Go on behind a token, one of those allowed."""
        marks = self._tokenizer
        if token == marks.phrase:
            self._opened = self._next_word()
            self._at = self._opened
            self.text = f"{self.text} <p> ".lstrip()
            self._pieces = self._rest()
        elif token == marks.phrase_end:
            self._opened, self._owes_seg = None, True
            self.text += " </p>"
        elif token == marks.seg:
            self._owes_seg = False
            self.text += " [SEG]"
            self._pieces = self._rest()
        elif token != marks.eos:
            piece = self._pieces.pop(0)
            self.text += self._caption[self._at : piece.end]
            self._at = max(self._at, piece.end)

    def _rest(self) -> list[_Piece]:
        """The caption from here on as the model reads it behind what was said so far."""
        said = f"{LEAD} {self.text}".rstrip()
        space = " " if not self.text or self._opened is not None else ""
        encoded = self._tokenizer.tokenizer.encode(said + space + self._caption[self._at :], add_special_tokens=False)
        skipped = len(self._tokenizer.encode(said))
        shift = self._at - len(said) - len(space)
        return [
            _Piece(token, max(self._at, begin + shift), max(self._at, end + shift))
            for token, (begin, end) in zip(encoded.ids[skipped:], encoded.offsets[skipped:], strict=True)
        ]

    def _next_word(self) -> int:
        """Where the next visible character stands; the caption's length at its end."""
        rest = self._caption[self._at :]
        return self._at + len(rest) - len(rest.lstrip())

    def _between_tokens(self) -> bool:
        """Whether every byte of the last character was said: one may take several tokens."""
        return not self._pieces or self._pieces[0].end > self._at

    def _may_open(self) -> bool:
        word = self._next_word()
        if not self._pieces or not self._between_tokens() or not (self._at < word or self._at == 0):
            return False
        if self._ends is not None:
            return word in self._ends
        return self._caption[word].isalnum()

    def _may_close(self) -> bool:
        assert self._opened is not None
        if self._at == self._opened or not self._between_tokens():
            return False
        if self._ends is not None:
            return self._at >= self._ends[self._opened]
        following = self._caption[self._at : self._at + 1]
        return not following or following.isspace() or following in NO_SPACE_BEFORE

    def _must_close(self) -> bool:
        """A phrase ends where the caption or one of its clauses does."""
        following = self._caption[self._at : self._at + 2]
        clause_ends = following[:1] in NO_SPACE_BEFORE and not following[1:].strip()
        return self._ends is not None or not following or clause_ends
