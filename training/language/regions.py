"""Descriptions of one region: the thing in it with all that is known of it, and where it is."""

from dataclasses import dataclass

from numpy.random import Generator

from shared.masks import Box
from training.language import relations
from training.language.draw import chance, pick
from training.language.naming import coloured_name, full_name
from training.language.nouns import sentence, with_article
from training.language.referring import PREFER
from training.language.usage import Usage
from training.scenes.scene import Scene

_WORDINGS = (
    "{name} {place}",
    "{name} {place}",
    "{name} {place}",
    "this is {name} {place}",
    "the region shows {name} {place}",
    "there is {name} here, {place}",
)
_BY_RELATION = 0.3


@dataclass(frozen=True)
class RegionDescription:
    """box: xyxy in pixels; answer: a sentence about the one thing in it, scene.objects[about], of `category`."""

    box: Box
    answer: str
    category: str
    about: int


def region_caption(scene: Scene, usage: Usage, rng: Generator) -> RegionDescription:
    """One thing's box and a sentence that describes it."""
    about, place = _place(scene, usage, rng)
    thing = scene.objects[about]
    answer = sentence(pick(_WORDINGS, rng).format(name=with_article(full_name(thing)), place=place))
    return RegionDescription(thing.box, answer, thing.category, about)


def _place(scene: Scene, usage: Usage, rng: Generator) -> tuple[int, str]:
    """A thing, and its place by itself or by another thing."""
    wanted = relations.preferred(scene, usage)
    if wanted and chance(PREFER, rng):
        relation = pick(wanted, rng)
        return relation.subject, _beside(scene, relation, rng)
    about = int(rng.integers(len(scene.objects)))
    if chance(_BY_RELATION, rng):
        found = relations.of(scene, about, usage)
        if found:
            return about, _beside(scene, relations.choose(found, scene, usage, rng), rng)
    return about, scene.objects[about].position


def _beside(scene: Scene, relation: relations.Relation, rng: Generator) -> str:
    return f"{relation.words(rng)} {with_article(coloured_name(scene.objects[relation.other]))}"
