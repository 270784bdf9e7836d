"""What a caption names at once: one thing, or all things of one kind and colour."""

from dataclasses import dataclass

from numpy.random import Generator

from training.language.draw import chance
from training.language.grounded import Named
from training.language.naming import SAY_COLOUR, named, united
from training.language.nouns import NUMBERS, plural, with_article
from training.scenes.scene import Scene, SceneObject


@dataclass(frozen=True, eq=False)
class Mention:
    """members: indices of the scene's objects, which are alike.

    words: "a red apple" or "two red apples". place: where all of them are, "" if they are apart.
    """

    members: tuple[int, ...]
    named: Named
    place: str

    @property
    def single(self) -> bool:
        return len(self.members) == 1

    @property
    def verb(self) -> str:
        return "is" if self.single else "are"


def mentions(scene: Scene) -> list[Mention]:
    """All the scene's things with all that can be said of them, those that are alike together: no two are named alike.

    They are in the order of the first of each kind from the left.
    """
    return [_mention(scene, tuple(members), coloured=True, sized=True) for members in _kinds(scene).values()]


def brief_mentions(scene: Scene, rng: Generator) -> list[Mention]:
    """The same without sizes, and now and then without a colour that nobody needs to tell them apart."""
    kinds = _kinds(scene)
    categories = [category for category, _ in kinds]
    return [
        _mention(scene, tuple(members), categories.count(category) > 1 or chance(SAY_COLOUR, rng), sized=False)
        for (category, _), members in kinds.items()
    ]


def _kinds(scene: Scene) -> dict[tuple[str, str], list[int]]:
    """Category and colour → indices of the things that are alike in both."""
    alike: dict[tuple[str, str], list[int]] = {}
    for index, thing in enumerate(scene.objects):
        alike.setdefault((thing.category, thing.colour), []).append(index)
    return alike


def _mention(scene: Scene, members: tuple[int, ...], coloured: bool, sized: bool) -> Mention:
    things = [scene.objects[index] for index in members]
    first = things[0]
    size = first.size if sized and all(thing.size == first.size for thing in things) else ""
    words = counted(first.category, len(things), first.colour if coloured else "", size)
    return Mention(members, Named(words, united(things)), _shared_place(things))


def counted(category: str, count: int, colour: str = "", size: str = "") -> str:
    """ "a small red apple", "two red apples"."""
    if count == 1:
        return with_article(named(category, colour, size))
    return f"{NUMBERS[count]} {named(plural(category), colour, size)}"


def _shared_place(things: list[SceneObject]) -> str:
    places = {thing.position for thing in things}
    return things[0].position if len(places) == 1 else ""
