"""Which words of a hypothesis stand for which of a reference: METEOR's four matchers and its beam search.

Where several alignments are equally good the search's order decides, and chunks with it; so the order of matches, the
whole-numbered sums and the way distances are counted are those of METEOR 1.5.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from training.metrics.meteor.resources import LONGEST, Resources

BEAM = 40


class Matcher(IntEnum):
    EXACT = 0
    STEM = 1
    SYNONYM = 2
    PARAPHRASE = 3


@dataclass(frozen=True)
class Match:
    """`length` words of the reference from `start` on stand for `other_length` of the hypothesis from `other_start`."""

    matcher: Matcher
    start: int
    length: int
    other_start: int
    other_length: int

    @cached_property
    def end(self) -> int:
        return self.start + self.length

    @cached_property
    def other_end(self) -> int:
        return self.other_start + self.other_length

    @cached_property
    def bits(self) -> int:
        """The reference's words it takes, as a set of bits."""
        return ((1 << self.length) - 1) << self.start

    @cached_property
    def other_bits(self) -> int:
        return ((1 << self.other_length) - 1) << self.other_start

    @cached_property
    def distance(self) -> int:
        return abs(self.start - self.other_start)


class _Path(NamedTuple):
    """A partial alignment, built from the reference's first word on.

    taken: the matches so far; used, other_used: words that are spoken for, as bits, definite matches included;
    weight, other_weight: words matched, an exact one 1 and another ½, each sum rounded down after every match;
    open_end: where in the hypothesis the last chunk would go on, None where none is open.
    """

    taken: tuple[Match, ...]
    used: int
    other_used: int
    weight: int = 0
    other_weight: int = 0
    chunks: int = 0
    next: int = 0
    open_end: int | None = None
    distance: int = 0

    @property
    def rank(self) -> tuple[int, int, int]:
        """Smaller is better: more words, then fewer chunks, then matches closer to the diagonal."""
        return -(self.weight + self.other_weight), self.chunks, self.distance

    def take(self, match: Match, distance: int) -> "_Path":
        worth = 1.0 if match.matcher is Matcher.EXACT else 0.5
        breaks = self.open_end is not None and self.open_end != match.other_start
        return _Path(
            (*self.taken, match),
            self.used | match.bits,
            self.other_used | match.other_bits,
            int(self.weight + match.other_length * worth),
            int(self.other_weight + match.length * worth),
            self.chunks + breaks,
            match.end,
            match.other_end,
            distance,
        )

    def skip(self, distance: int) -> "_Path":
        return self.close()._replace(next=self.next + 1, distance=distance)

    def close(self) -> "_Path":
        return self if self.open_end is None else self._replace(chunks=self.chunks + 1, open_end=None)


def align(hypothesis: Sequence[str], reference: Sequence[str], resources: Resources) -> tuple[tuple[Match, ...], int]:
    """The best alignment's matches, in the reference's order, and the number of chunks that they form."""
    found: list[list[Match]] = [[] for _ in reference]
    for match in _matches(hypothesis, reference, resources):
        found[match.start].append(match)
    definite = _definite(found)
    start = _Path(
        (),
        sum(match.bits for match in definite.values()),
        sum(match.other_bits for match in definite.values()),
    )
    best = _search(found, definite, start)
    return best.taken, best.chunks


def _search(found: Sequence[Sequence[Match]], definite: dict[int, Match], start: _Path) -> _Path:
    paths = [start]
    for position, matches in enumerate(found):
        paths.sort(key=lambda path: path.rank)
        onward: list[_Path] = []
        for path in paths[:BEAM]:
            if position < path.next:
                onward.append(path)
            elif position in definite:
                match = definite[position]
                onward.append(path.take(match, path.distance + match.distance))
            else:
                onward += _choices(path, matches)
        paths = onward
    paths.sort(key=lambda path: path.rank)
    return min((path.close() for path in paths[:BEAM]), key=lambda path: path.rank)


def _choices(path: _Path, matches: Sequence[Match]) -> Iterator[_Path]:
    """Each match that is free, then none. A match's distance is charged to the choices after it, as METEOR does."""
    distance = path.distance
    for match in matches:
        if not (path.used & match.bits or path.other_used & match.other_bits):
            yield path.take(match, distance)
            distance += match.distance
    yield path.skip(distance)


def _definite(found: Sequence[Sequence[Match]]) -> dict[int, Match]:
    """By their start: matches that stand alone and whose words, on both sides, no other match covers."""
    every = [match for matches in found for match in matches]
    covers = Counter(word for match in every for word in range(match.start, match.end))
    other_covers = Counter(word for match in every for word in range(match.other_start, match.other_end))
    return {
        match.start: match
        for match in every
        if len(found[match.start]) == 1
        and all(covers[word] == 1 for word in range(match.start, match.end))
        and all(other_covers[word] == 1 for word in range(match.other_start, match.other_end))
    }


def _matches(hypothesis: Sequence[str], reference: Sequence[str], resources: Resources) -> Iterator[Match]:
    """Every match of every matcher. Equal sentences have exact ones alone, which keeps the search from a worse end."""
    pairs = [(n, m) for n in range(len(reference)) for m in range(len(hypothesis))]
    same = [(n, m) for n, m in pairs if reference[n] == hypothesis[m]]
    yield from (Match(Matcher.EXACT, n, 1, m, 1) for n, m in same)
    if list(hypothesis) == list(reference):
        return
    different = [(n, m) for n, m in pairs if reference[n] != hypothesis[m]]

    stems, other_stems = ([resources.stem(word) for word in line] for line in (reference, hypothesis))
    yield from (Match(Matcher.STEM, n, 1, m, 1) for n, m in different if stems[n] == other_stems[m])

    synsets, other_synsets = ([resources.synonyms.of(word) for word in line] for line in (reference, hypothesis))
    yield from (Match(Matcher.SYNONYM, n, 1, m, 1) for n, m in different if synsets[n] & other_synsets[m])

    for n, length, m, other_length in _paraphrases(reference, hypothesis, resources):
        yield Match(Matcher.PARAPHRASE, n, length, m, other_length)
    for m, other_length, n, length in _paraphrases(hypothesis, reference, resources):
        yield Match(Matcher.PARAPHRASE, n, length, m, other_length)


def _paraphrases(
    line: Sequence[str], other: Sequence[str], resources: Resources
) -> Iterator[tuple[int, int, int, int]]:
    """(start, length) in the line and in the other, of pairs whose left side stands in the line; short ones first."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(other):
        places.setdefault(word, []).append(place)
    for start in range(len(line)):
        for end in range(start + 1, min(len(line), start + LONGEST) + 1):
            for phrase in resources.paraphrases.get(tuple(line[start:end]), ()):
                for place in places.get(phrase[0], ()):
                    if tuple(other[place : place + len(phrase)]) == phrase:
                        yield start, end - start, place, len(phrase)
