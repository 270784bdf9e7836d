"""Captions whose phrases have masks: what GranD-f's sources have in common once they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from numpy.random import Generator

from shared.model import conversation
from training.data import templates
from training.data.sample import DataError, Dataset, MaskSource, Sample, Turn


@dataclass(frozen=True)
class Phrase:
    """Characters start..end (exclusive) of a caption, and the mask of what they name."""

    start: int
    end: int
    mask: MaskSource


@dataclass(frozen=True)
class GroundedCaption:
    """index: of the record in its file."""

    index: int
    image: Path
    caption: str
    phrases: tuple[Phrase, ...]


class GroundedCaptions(Dataset):
    """Captions whose phrases have masks, whatever file they came from.

    plain_question: always the service's own instruction, as evaluation asks it.
    """

    captions = True

    def __init__(self, source: Path, records: Sequence[GroundedCaption], plain_question: bool = False) -> None:
        # Without a phrase there is nothing to ground.
        self.source, self.plain_question = source, plain_question
        self._records = [record for record in records if record.phrases]

    def __len__(self) -> int:
        return len(self._records)

    def sample(self, index: int, rng: Generator) -> Sample:
        record = self._records[index]
        answer, masks = marked_caption(record.caption, record.phrases)
        question = conversation.GCG if self.plain_question else templates.choose(templates.GCG, rng)
        return Sample(record.image, (Turn(question, answer, masks),), self.source, record.index)


def require_span(source: Path, index: int, field: str, span: tuple[int, int], caption: str) -> None:
    """Raises DataError where the span, end exclusive, is not inside the caption."""
    start, end = span
    if not 0 <= start < end <= len(caption):
        reason = f"[{start}, {end}] are no characters of the caption, which has {len(caption)}"
        raise DataError(source, index, field, reason)


def marked_caption(caption: str, phrases: Sequence[Phrase]) -> tuple[str, tuple[MaskSource, ...]]:
    """The caption with `<p> phrase </p> [SEG]` for every phrase, and their masks in that order.

    Phrases cannot nest in this markup: where two overlap, the one that begins first is kept, of those the longest.
    """
    answer, done = "", 0
    masks = list[MaskSource]()
    for phrase in sorted(phrases, key=lambda phrase: (phrase.start, -phrase.end)):
        if phrase.start < done:
            continue
        answer += f"{caption[done : phrase.start]}<p> {caption[phrase.start : phrase.end].strip()} </p> [SEG]"
        masks.append(phrase.mask)
        done = phrase.end
    return answer + caption[done:], tuple(masks)
