"""Conversations about a scene: each task's question in several wordings, its answer, and questions that refer back."""

from dataclasses import dataclass

from numpy.random import Generator

from shared.masks import Box, Mask
from shared.model import conversation
from shared.tasks import Task
from training.data import templates
from training.language.captions import caption, gcg
from training.language.draw import chance, weighted
from training.language.grounding import ground
from training.language.question import Question
from training.language.questions import follow_up, vqa
from training.language.referring import refseg
from training.language.regions import region_caption
from training.language.usage import Usage
from training.language.whether import NO, YES
from training.scenes.scene import Scene

FIRST: dict[Task, float] = {
    Task.GCG: 0.25,
    Task.REFSEG: 0.25,
    Task.REGION_CAPTION: 0.12,
    Task.CAPTION: 0.05,
    Task.VQA: 0.25,
    Task.GROUND: 0.08,
}
LATER: dict[Task, float] = {
    Task.REFSEG: 0.4,
    Task.REGION_CAPTION: 0.15,
    Task.VQA: 0.4,
    Task.GROUND: 0.05,
}
"""Nobody asks for a whole caption again."""
FOLLOW_UP = 0.4
MAX_TURNS = 5
"""Of one scene, in training."""


@dataclass(frozen=True, eq=False)
class Turn:
    """A question as the model reads it, and its answer with its markup.

    masks: (H, W) each, one a [SEG] of the answer; boxes: xyxy in pixels, one a `<bbox>` of the question. about: index
    of the one thing that it is about. seen: indices of all that the answer is read off.
    """

    task: Task
    question: str
    answer: str
    masks: tuple[Mask, ...] = ()
    boxes: tuple[Box, ...] = ()
    about: int | None = None
    seen: tuple[int, ...] = ()


def turn(scene: Scene, task: Task, usage: Usage, rng: Generator) -> Turn:
    """One exchange about a scene, half the time in the words that the service itself would put to the model."""
    match task:
        case Task.GCG:
            said = gcg(scene, usage, rng)
            return Turn(task, templates.usual(templates.GCG, rng), said.answer, said.masks)
        case Task.REFSEG:
            referred = refseg(scene, usage, rng)
            masks = () if referred.mask is None else (referred.mask,)
            question = templates.referring(referred.expression, rng)
            return Turn(task, question, referred.answer, masks, about=referred.about)
        case Task.REGION_CAPTION:
            region = region_caption(scene, usage, rng)
            question = templates.usual(templates.REGION, rng)
            return Turn(task, question, region.answer, boxes=(region.box,), about=region.about)
        case Task.VQA:
            return _asked(vqa(scene, usage, rng))
        case Task.GROUND:
            given = ground(scene, usage, rng)
            question = templates.usual(templates.GROUND, rng).format(caption=given.text)
            return Turn(task, question, given.answer, given.masks)
        case Task.CAPTION:
            return Turn(task, templates.usual(templates.CAPTION, rng), caption(scene, usage, rng))


def dialogue(scene: Scene, usage: Usage, rng: Generator, turns: int) -> tuple[Turn, ...]:
    """One turn or more of mixed tasks about a scene; some ask about "it", which the turn before was about."""
    said = [turn(scene, weighted(FIRST, rng), usage, rng)]
    while len(said) < turns:
        about = said[-1].about
        more = follow_up(scene, about, usage, rng) if about is not None and chance(FOLLOW_UP, rng) else None
        if more is None or _repeats(more, said[-1]):
            said.append(turn(scene, weighted(LATER, rng), usage, rng))
        else:
            said.append(_asked(more))
    return tuple(said)


def _repeats(asked: Question, before: Turn) -> bool:
    """The answer was given in the turn before."""
    return asked.answer == before.answer and asked.answer not in (YES, NO)


def _asked(asked: Question) -> Turn:
    boxes = () if asked.box is None else (asked.box,)
    question, _ = conversation.question(asked.question, len(boxes))
    return Turn(Task.VQA, question, asked.answer, asked.masks, boxes, asked.about, asked.seen)
