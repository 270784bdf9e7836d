"""Noun phrases for things of a scene: size, colour, noun, in this order, and never an attribute that is wrong."""

from collections.abc import Iterable
from functools import reduce
from operator import or_

from numpy.random import Generator

from shared.masks import Mask
from training.language.draw import chance
from training.scenes.scene import Scene, SceneObject

SAY_COLOUR = 0.8
SAY_SIZE = 0.35


def named(noun: str, colour: str = "", size: str = "") -> str:
    """ "small red apple": what stands behind an article or a number."""
    return " ".join(word for word in (size, colour, noun) if word)


def some_name(thing: SceneObject, rng: Generator) -> str:
    """The noun with some of the thing's attributes, as people would say it."""
    colour = thing.colour if chance(SAY_COLOUR, rng) else ""
    return named(thing.category, colour, thing.size if chance(SAY_SIZE, rng) else "")


def full_name(thing: SceneObject) -> str:
    """The noun with all its attributes."""
    return named(thing.category, thing.colour, thing.size)


def coloured_name(thing: SceneObject) -> str:
    """The noun with its colour, if it has one: how questions are answered."""
    return named(thing.category, thing.colour)


def united(things: Iterable[SceneObject]) -> Mask:
    """(H, W), the pixels of all of them."""
    return reduce(or_, (thing.mask for thing in things))


def only_name(scene: Scene, index: int, rng: Generator) -> str | None:
    """A name that nothing else in the scene could be called by, for use behind "the"; None where there is none.

    Now and then it has a colour that it would not need.
    """
    thing = scene.objects[index]
    rivals = [other for other in scene.objects if other.category == thing.category and other is not thing]
    if not rivals:
        return named(thing.category, thing.colour if chance(0.5, rng) else "")
    if thing.colour and all(other.colour not in (thing.colour, "") for other in rivals):
        return named(thing.category, thing.colour)
    if thing.size and all(other.size not in (thing.size, "") for other in rivals):
        return named(thing.category, size=thing.size)
    return None
