"""Which captions name a category: its whole words, in the singular or a simple plural, the longest at their place."""

import re
from collections.abc import Iterable, Iterator, Sequence

_WORD = re.compile(r"[^\W_]+")

Words = tuple[str, ...]


class Categories:
    """The names of all categories of a set, each of one word or more, as in "fire truck".

    Case counts nothing, nor what stands between words: "t-shirt" names "T shirt".
    """

    def __init__(self, names: Iterable[str]) -> None:
        singular = {words(name) for name in names}
        # "glasses" is the category "glasses" before it is more than one "glass".
        self._forms = {form: name for name in singular for form in _plurals(name)} | {name: name for name in singular}
        self._longest = max(map(len, singular), default=0)

    def named(self, caption: str, name: str) -> bool:
        """Whether the caption names this category. One inside a longer one does not count: "truck" in "fire truck"."""
        return words(name) in self._all_in(words(caption))

    def _all_in(self, said: Words) -> Iterator[Words]:
        covered = 0
        for start in range(len(said)):
            longest_first = range(min(len(said), start + self._longest), max(start, covered), -1)
            stop = next((stop for stop in longest_first if said[start:stop] in self._forms), None)
            if stop is not None:
                yield self._forms[said[start:stop]]
                covered = stop


def category_accuracy(captions: Sequence[tuple[str, str]]) -> float | None:
    """The share of captions, each with the category it should name, that do; the set's categories are all of these.

    None of an empty set.
    """
    known = Categories(category for _, category in captions)
    return sum(known.named(said, category) for said, category in captions) / len(captions) if captions else None


def words(text: str) -> Words:
    """In lower case."""
    return tuple(_WORD.findall(text.lower()))


def _plurals(singular: Words) -> Iterator[Words]:
    *before, last = singular
    yield (*before, f"{last}s")
    yield (*before, f"{last}es")
    if last.endswith("y"):
        yield (*before, f"{last[:-1]}ies")
