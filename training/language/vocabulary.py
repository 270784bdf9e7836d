"""The words of all sentences, and sentences enough to train a small checkpoint's tokenizer on each of them."""

import itertools
import re
from collections.abc import Iterator

import numpy as np

from shared.model import conversation
from shared.tasks import Task
from training.data import templates
from training.language.conversations import turn
from training.language.imagined import imagine
from training.language.nouns import NUMBERS, definite, plural, sentence, with_article
from training.language.relations import WORDINGS
from training.language.usage import Usage
from training.language.whether import NO, YES
from training.scenes.scene import POSITIONS, SIZES

SCENES = 600
"""Imagined ones; each category has its turn among their first objects."""
# A word has to be met now and then before a tokenizer makes it one token.
REPEATS = 5
_QUESTIONS = 10
_MARKUP = re.compile(r"<[^<>]*>|\[SEG\]|\{[a-z]*\}")
_WORD = re.compile(r"[A-Za-z]+")


def corpus(usage: Usage, scenes: int = SCENES) -> Iterator[str]:
    """Questions and answers of all tasks, markup included, and then every word for itself, always the same."""
    rng = np.random.default_rng(0)
    for category in itertools.islice(itertools.cycle(usage.categories), scenes):
        scene = imagine(usage, rng, category)
        for task in [*Task, *[Task.VQA] * _QUESTIONS, *[Task.REFSEG] * 3]:
            said = turn(scene, task, usage, rng)
            yield from (said.question, said.answer)
    instructions = (*templates.GCG, *templates.CAPTION, *templates.REGION, *templates.REFERRING, *templates.GROUND)
    for _ in range(REPEATS):
        yield from _words(usage)
        yield from (conversation.build([(instruction, None)]) for instruction in instructions)
        yield from templates.SEGMENTED


def vocabulary(usage: Usage) -> tuple[str, ...]:
    """Every word that the sentences can hold, sorted; capitalised ones where a sentence can begin with them."""
    return tuple(sorted({word for text in corpus(usage) for word in _WORD.findall(_MARKUP.sub(" ", text))}))


def _words(usage: Usage) -> Iterator[str]:
    """What is never said often enough to be sure of: names of things and their attributes."""
    for category in usage.categories:
        yield from (category, plural(category), sentence(with_article(category)))
    for colour in usage.colours:
        yield from (colour, sentence(colour), with_article(f"{colour} thing"), f"{colour} things")
    for background in usage.backgrounds:
        yield from (sentence(background), definite(background))
    for words in (*NUMBERS, *SIZES, *(place for row in POSITIONS for place in row)):
        yield from (words, sentence(words))
    for wordings in WORDINGS.values():
        yield from wordings
        yield from (sentence(words) for words in wordings)
    yield from (YES, NO)
