"""METEOR's knowledge of English, read from the files that the pycocoevalcap wheel ships: no Java, no network.

Function words, abbreviations and WordNet's synsets are entries of its `meteor-1.5.jar`; the paraphrase table, five
million pairs, is a file beside it, of which only the pairs that can occur in the texts at hand are kept.
"""

import gzip
import importlib.util
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import snowballstemmer

from shared.errors import InvalidSettings
from training.metrics.meteor.normalize import ALWAYS, BEFORE_NUMBERS

_JAR = "meteor/meteor-1.5.jar"
_PARAPHRASES = "meteor/data/paraphrase-en.gz"
_SUFFIXES = (
    ("s", ""),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
    ("es", "e"),
    ("es", ""),
    ("ed", "e"),
    ("ed", ""),
    ("ing", "e"),
    ("ing", ""),
    ("er", ""),
    ("est", ""),
    ("er", "e"),
    ("est", "e"),
)
"""WordNet's rules of detachment, in METEOR's order: an ending and what takes its place."""

Phrase = tuple[str, ...]
Paraphrases = Mapping[Phrase, Sequence[Phrase]]
"""A phrase → phrases of the same meaning, in the table's order. Both have one word or more, and LONGEST at most."""

LONGEST = 7


@dataclass(frozen=True)
class Synonyms:
    """WordNet by words. synsets: word → numbers of its synsets; bases: irregular form → its base forms."""

    synsets: Mapping[str, frozenset[int]]
    bases: Mapping[str, Sequence[str]]

    def of(self, word: str) -> frozenset[int]:
        """The synsets of the word and of its base forms."""
        bases = self.bases.get(word) or [self._detached(word)]
        return self._of(word).union(*map(self._of, bases))

    def _of(self, word: str) -> frozenset[int]:
        return self.synsets.get(word, frozenset())

    def _detached(self, word: str) -> str:
        if word.endswith("ss") or len(word) <= 2:
            return word
        candidates = (word.removesuffix(old) + new for old, new in _SUFFIXES if word.endswith(old))
        return next((base for base in candidates if base in self.synsets), "")


@dataclass(frozen=True)
class Resources:
    function_words: AbstractSet[str]
    abbreviations: Mapping[str, str]
    synonyms: Synonyms
    stem: Callable[[str], str]
    paraphrases: Paraphrases = field(default_factory=dict)


@lru_cache(maxsize=1)
def english() -> Resources:
    """Everything but the paraphrases: about 0.3 s, once a process."""
    with zipfile.ZipFile(shipped_file(_JAR)) as jar:
        return Resources(
            function_words=frozenset(_lines(jar, "function/english.words")),
            abbreviations=_abbreviations(_lines(jar, "nonbreaking/english.prefixes")),
            synonyms=Synonyms(
                _synsets(_lines(jar, "synonym/english.synsets")), _bases(_lines(jar, "synonym/english.exceptions"))
            ),
            stem=lru_cache(maxsize=None)(snowballstemmer.stemmer("english").stemWord),
        )


def paraphrases_of(vocabulary: AbstractSet[str], table: Path | None = None) -> Paraphrases:
    """The table's pairs whose words are all in the vocabulary. Reads the whole table, some seconds.

    table: gzipped lines in threes, a probability and two phrases; default: the one that pycocoevalcap ships.
    """
    known = {word.encode() for word in vocabulary}
    found: dict[Phrase, list[Phrase]] = {}
    with gzip.open(table or shipped_file(_PARAPHRASES)) as packed:
        lines = io.BufferedReader(packed, 1 << 20)
        for _, one, other in zip(lines, lines, lines, strict=True):
            if known.issuperset(one.split()) and known.issuperset(other.split()):
                left, right = (tuple(phrase.decode().split()) for phrase in (one, other))
                found.setdefault(left, []).append(right)
    return found


def shipped_file(name: str) -> Path:
    """A file of the pycocoevalcap wheel, found without importing it."""
    spec = importlib.util.find_spec("pycocoevalcap")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder, name)).exists():
            return path
    raise InvalidSettings(
        f"METEOR needs {name} of the package pycocoevalcap.",
        field="evaluation",
        remedy="Install this project with its extra: pip install 'glamm[evaluation]'.",
    )


def _lines(jar: zipfile.ZipFile, name: str) -> list[str]:
    return jar.read(name).decode("utf-8").rstrip("\n").split("\n")


def _abbreviations(lines: Iterable[str]) -> dict[str, str]:
    found = {}
    for parts in map(str.split, lines):
        if parts and not parts[0].startswith("#"):
            found[parts[0]] = BEFORE_NUMBERS if parts[1:2] == ["#NUMERIC_ONLY#"] else ALWAYS
    return found


def _synsets(lines: Sequence[str]) -> dict[str, frozenset[int]]:
    return {word: frozenset(map(int, sets.split())) for word, sets in zip(lines[::2], lines[1::2], strict=True)}


def _bases(lines: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for base, forms in zip(lines[::2], lines[1::2], strict=True):
        for form in forms.split():
            found.setdefault(form, []).append(base)
    return found
