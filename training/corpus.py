"""The text that a small checkpoint's tokenizer is trained on: scenes' sentences and every task's instruction."""

import re
from collections.abc import Iterator

import numpy as np

from shared.model import conversation
from shared.model.tokenizer import ADDED, IMAGE
from training.scenes.compose import scene
from training.scenes.language import caption, gcg, ground, refseg, region_caption, vocabulary, vqa

SCENES = 600
# Instructions are few but stand before every answer; repeated, their words become single tokens.
REPEATS = 200
MARKUP = re.compile("|".join(re.escape(token) for token in (*ADDED, IMAGE, conversation.END)))


def sentences() -> Iterator[str]:
    """Plain sentences: markup tokens never enter merges."""
    for text in _marked():
        yield MARKUP.sub("", text)


def _marked() -> Iterator[str]:
    for number in range(SCENES):
        made, rng = scene(number, "train"), np.random.default_rng([number, 1])
        yield from (gcg(made).answer, caption(made), region_caption(made, rng).answer, refseg(made, rng).answer)
        asked, grounded = vqa(made, rng), ground(made, rng)
        yield from (asked.question, asked.answer, grounded.answer)
    for instruction in (conversation.gcg(), conversation.region_caption(), conversation.caption()):
        yield from [conversation.build([(instruction, None)])] * REPEATS
    yield from [conversation.ground("")] * REPEATS
    for word in vocabulary():
        yield from [conversation.refseg(word)] * 5
