"""Grounded text: `<p> phrase </p> [SEG]` inside a caption → clean caption, phrases and their character spans."""

import re
from dataclasses import dataclass

MARKUP = re.compile(r"(<p>|</p>|\[SEG\]|<[^<>]*>)")
PLACES = re.compile(r"<image>|<im_start>|<im_end>|<bbox>|<point>")
NO_SPACE_BEFORE = frozenset(".,;:!?)")


@dataclass(frozen=True)
class Mention:
    """What one [SEG] of an answer belongs to. `span` counts characters of the clean text, end exclusive."""

    seg: int
    phrase: str | None
    span: tuple[int, int] | None


@dataclass(frozen=True)
class GroundedText:
    text: str
    mentions: tuple[Mention, ...]


def parse(answer: str) -> GroundedText:
    """The clean text of a raw answer and one mention for each of its [SEG] tokens, in order.

    A [SEG] belongs to the phrase that closed last before it and that no earlier [SEG] took; a [SEG] without one (as
    in "Sure, it is [SEG].") has no phrase. A phrase without a [SEG] stays plain text. Unclosed markup is dropped.
    """
    clean = _CleanText()
    opened: int | None = None
    closed: tuple[int, int] | None = None
    mentions: list[Mention] = []
    for piece in MARKUP.split(answer):
        match piece:
            case "<p>":
                opened = clean.next_start()
            case "</p>":
                if opened is not None and len(clean.text) > opened:
                    closed = (opened, len(clean.text))
                opened = None
                clean.part()
            case "[SEG]":
                phrase = clean.text[closed[0] : closed[1]] if closed else None
                mentions.append(Mention(seg=len(mentions), phrase=phrase, span=closed))
                closed = None
                clean.part()
            case _ if not MARKUP.fullmatch(piece):
                clean.add(piece)
    return GroundedText(text=clean.text, mentions=tuple(mentions))


def align(answer: str, caption: str) -> GroundedText:
    """As `parse`, of an answer that is `caption` but for markup and white space: its spans are the caption's own."""
    visible = [index for index, char in enumerate(caption) if not char.isspace()]
    said, opened, closed = 0, 0, (0, 0)
    mentions: list[Mention] = []
    for piece in MARKUP.split(answer):
        match piece:
            case "<p>":
                opened = said
            case "</p>":
                closed = (visible[opened], visible[said - 1] + 1)
            case "[SEG]":
                mentions.append(Mention(len(mentions), caption[slice(*closed)], closed))
            case _:
                said += len("".join(piece.split()))
    return GroundedText(caption, tuple(mentions))


def without_places(answer: str) -> str:
    """A raw answer without the tokens that stand for an image or a box: a model may say one, and it means nothing."""
    return PLACES.sub("", answer)


def clean(text: str) -> str:
    """A text as every answer is shown: single spaces, none before punctuation."""
    return parse(text).text


class _CleanText:
    """Joins pieces with single spaces and none before punctuation, so that removed markup leaves no trace."""

    def __init__(self) -> None:
        self.text = ""
        self._space = False

    def add(self, piece: str) -> None:
        for word in re.findall(r"\s+|\S+", piece):
            if word.isspace():
                self._space = True
                continue
            if self.text and self._space and word[0] not in NO_SPACE_BEFORE:
                self.text += " "
            self.text += word
            self._space = False

    def part(self) -> None:
        """Markup parts words, whether or not spaces stand around it."""
        self._space = True

    def next_start(self) -> int:
        """Where the next word will begin, one space after the last."""
        self.part()
        return len(self.text) + (1 if self.text else 0)
