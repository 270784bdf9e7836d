"""What a caption names at once: one thing, or all things of one kind and colour."""

from dataclasses import dataclass

from numpy.random import Generator

from training.language.draw import chance
from training.language.grounded import Named
from training.language.naming import SAY_COLOUR, SAY_SIZE, named, united
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


def mentions(scene: Scene, rng: Generator, sizes: bool = True) -> list[Mention]:
    """All the scene's things, in the order of the first of each kind from the left; no two are named alike.

    sizes: now and then say how large they are.
    """
    alike: dict[tuple[str, str], list[int]] = {}
    for index, thing in enumerate(scene.objects):
        alike.setdefault((thing.category, thing.colour), []).append(index)
    kinds = [category for category, _ in alike]
    return [
        _mention(scene, tuple(members), kinds.count(category) > 1 or chance(SAY_COLOUR, rng), sizes, rng)
        for (category, _), members in alike.items()
    ]


def _mention(scene: Scene, members: tuple[int, ...], coloured: bool, sizes: bool, rng: Generator) -> Mention:
    things = [scene.objects[index] for index in members]
    first = things[0]
    same_size = sizes and all(thing.size == first.size for thing in things)
    size = first.size if same_size and chance(SAY_SIZE, rng) else ""
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
