"""Answers to questions, right or wrong: the same words, but for what the VQA metric takes for the same."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_ARTICLES = frozenset(("a", "an", "the"))
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0"}


@dataclass(frozen=True)
class Question:
    """answers: those that count, one or more. kind: what sort of question it is, None where that is not told."""

    answers: tuple[str, ...]
    kind: str | None = None


@dataclass(frozen=True)
class AnsweringScores:
    """Shares of questions with a right answer: of all, and of each kind, the kinds in the order of their names."""

    accuracy: float
    by_kind: Mapping[str, float]


def answering_scores(pairs: Sequence[tuple[str, Question]]) -> AnsweringScores:
    """(said, asked) a question, one or more of them."""
    judged = [(asked.kind, right(said, asked.answers)) for said, asked in pairs]
    kinds = sorted({kind for kind, _ in judged if kind is not None})
    return AnsweringScores(
        accuracy=_share(good for _, good in judged),
        by_kind={kind: _share(good for other, good in judged if other == kind) for kind in kinds},
    )


def right(said: str, answers: Iterable[str]) -> bool:
    """Whether what was said is one of the answers that count."""
    return normalized(said) in map(normalized, answers)


def normalized(answer: str) -> str:
    """Lower case, single blanks, no full stop at the end, no articles, and numbers up to ten (and "none") as digits.

    An answer that is made of articles alone keeps them, so that only one without words becomes empty.
    """
    words = answer.lower().strip().removesuffix(".").split()
    telling = [word for word in words if word not in _ARTICLES] or words
    return " ".join(_DIGITS.get(word, word) for word in telling)


def _share(judged: Iterable[bool]) -> float:
    told = list(judged)
    return sum(told) / len(told)
