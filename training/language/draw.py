"""Random choices, quick enough to be made by the dozen for every sentence."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from numpy.random import Generator

T = TypeVar("T")


def chance(probability: float, rng: Generator) -> bool:
    return rng.random() < probability


def pick(options: Sequence[T], rng: Generator) -> T:
    """One of the options, each as likely. Raises IndexError where there is none."""
    return options[int(rng.random() * len(options))]


def shuffled(options: Sequence[T], rng: Generator) -> list[T]:
    return [options[index] for index in rng.permutation(len(options))]


def weighted(options: Mapping[T, float], rng: Generator) -> T:
    """One of the options, as likely as its weight says."""
    return next(in_turn(options, rng))


def in_turn(options: Mapping[T, float], rng: Generator) -> Iterator[T]:
    """All the options, each next one drawn by weight from those that are left."""
    left = dict(options)
    while left:
        mark = rng.random() * sum(left.values())
        drawn = next(iter(left))
        for drawn, weight in left.items():  # noqa: B007
            mark -= weight
            if mark < 0:
                break
        del left[drawn]
        yield drawn
