"""Sentences whose phrases have masks, put together from their parts."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.masks import Mask
from training.language.nouns import capitalised

_NO_SPACE_BEFORE = (",", ".", ":", ";")


@dataclass(frozen=True, eq=False)
class Named:
    """Words that name something, and (H, W) the pixels of it."""

    words: str
    mask: Mask


Part = str | Named


@dataclass(frozen=True, eq=False)
class Phrase:
    """A phrase of a caption: caption[start:end] == text. mask: (H, W), the pixels it names."""

    text: str
    start: int
    end: int
    mask: Mask


@dataclass(frozen=True, eq=False)
class GroundedCaption:
    """A caption without markup, and its phrases in the order they are said."""

    text: str
    phrases: tuple[Phrase, ...]

    @property
    def answer(self) -> str:
        """The caption with `<p> phrase </p> [SEG]`."""
        pieces, done = [], 0
        for phrase in self.phrases:
            pieces.append(f"{self.text[done : phrase.start]}<p> {phrase.text} </p> [SEG]")
            done = phrase.end
        return "".join([*pieces, self.text[done:]])

    @property
    def masks(self) -> tuple[Mask, ...]:
        """(H, W) each, the n-th for the n-th [SEG]."""
        return tuple(phrase.mask for phrase in self.phrases)


def compose(parts: Iterable[Part], capitals: bool = True) -> GroundedCaption:
    """Join the parts with single spaces, none before punctuation. capitals: sentences begin with one."""
    text, begins, phrases = "", capitals, list[Phrase]()
    for part in parts:
        words = part if isinstance(part, str) else part.words
        if not words:
            continue
        if begins:
            words = capitalised(words)
        if text and not words.startswith(_NO_SPACE_BEFORE):
            text += " "
        if isinstance(part, Named):
            phrases.append(Phrase(words, len(text), len(text) + len(words), part.mask))
        text += words
        begins = capitals and words.endswith(".")
    return GroundedCaption(text, tuple(phrases))


def listed(items: Iterable[list[Part]], last: str = "and") -> list[Part]:
    """Several runs of parts as "one, another and a third"."""
    runs, parts = list(items), list[Part]()
    for index, run in enumerate(runs):
        if index:
            parts.append(last if index == len(runs) - 1 else ",")
        parts.extend(run)
    return parts
