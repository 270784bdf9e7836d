"""METEOR's score: a weighted F-mean of matched words, lowered by how many pieces the matches fall into."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Self

from training.metrics.meteor.alignment import Matcher, align
from training.metrics.meteor.normalize import words
from training.metrics.meteor.resources import Resources, english, paraphrases_of

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
"""METEOR 1.5's English parameters of the ranking task: recall's share, the penalty's shape and size, and the weight of
content words, where function words weigh 1 − DELTA."""

WEIGHTS = {Matcher.EXACT: 1.0, Matcher.STEM: 0.6, Matcher.SYNONYM: 0.8, Matcher.PARAPHRASE: 0.6}


@dataclass(frozen=True)
class Side:
    """One sentence's weighted words: matched ones (times their matcher's weight), all, and plain counts of both."""

    matched_weight: float = 0.0
    weight: float = 0.0
    matched: int = 0
    length: int = 0

    @property
    def share(self) -> float:
        return self.matched_weight / self.weight if self.weight else 0.0

    @property
    def complete(self) -> bool:
        return self.matched == self.length


@dataclass(frozen=True)
class Statistics:
    """What a score is made of. Those of many captions add up to those of the whole set."""

    hypothesis: Side = field(default_factory=Side)
    reference: Side = field(default_factory=Side)
    chunks: int = 0

    def __add__(self, other: Self) -> "Statistics":
        """A caption that is its reference, in one chunk, adds no chunk."""
        return Statistics(
            _sum(self.hypothesis, other.hypothesis),
            _sum(self.reference, other.reference),
            self.chunks + (0 if other.perfect else other.chunks),
        )

    @property
    def perfect(self) -> bool:
        return self.hypothesis.complete and self.reference.complete and self.chunks == 1

    @property
    def score(self) -> float:
        precision, recall = self.hypothesis.share, self.reference.share
        if not precision or not recall:
            return 0.0
        mean = 1 / ((1 - ALPHA) / precision + ALPHA / recall)
        fragmentation = 0.0 if self.perfect else self.chunks / ((self.hypothesis.matched + self.reference.matched) / 2)
        return max(mean * (1 - GAMMA * math.pow(fragmentation, BETA)), 0.0)


@dataclass(frozen=True)
class MeteorScores:
    """Each caption's score, and the score of their summed statistics, which is the one that papers report."""

    each: tuple[float, ...]
    corpus: float


class Meteor:
    """METEOR for captions against one or more references each."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources

    @classmethod
    def for_texts(cls, texts: Iterable[str]) -> "Meteor":
        """With METEOR's own word lists, and the paraphrases that can occur in these texts. Some seconds."""
        resources = english()
        vocabulary = {word for text in texts for word in words(text, resources.abbreviations)}
        return cls(replace(resources, paraphrases=paraphrases_of(vocabulary)))

    def statistics(self, hypothesis: str, references: Sequence[str]) -> Statistics:
        """Against the reference with the best score, the first of equal ones."""
        return max((self._against(hypothesis, reference) for reference in references), key=lambda found: found.score)

    def _against(self, hypothesis: str, reference: str) -> Statistics:
        said, wanted = (words(line, self.resources.abbreviations) for line in (hypothesis, reference))
        matches, chunks = align(said, wanted, self.resources)
        return Statistics(
            self._side(said, [(n, m.matcher) for m in matches for n in range(m.other_start, m.other_end)]),
            self._side(wanted, [(n, m.matcher) for m in matches for n in range(m.start, m.end)]),
            chunks,
        )

    def _side(self, line: Sequence[str], matched: Sequence[tuple[int, Matcher]]) -> Side:
        weights = [1 - DELTA if word in self.resources.function_words else DELTA for word in line]
        return Side(
            matched_weight=sum(WEIGHTS[matcher] * weights[n] for n, matcher in matched),
            weight=sum(weights),
            matched=len(matched),
            length=len(line),
        )


def corpus_scores(statistics: Iterable[Statistics]) -> MeteorScores:
    """Statistics, one a caption → all scores."""
    every = list(statistics)
    return MeteorScores(tuple(one.score for one in every), sum(every, Statistics()).score)


def _sum(one: Side, other: Side) -> Side:
    return Side(**{part.name: getattr(one, part.name) + getattr(other, part.name) for part in fields(Side)})
