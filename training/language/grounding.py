"""Captions in somebody else's words, about some of the things of a scene, and how their phrases are marked."""

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.random import Generator

from training.language import relations
from training.language.draw import chance, pick, shuffled
from training.language.grounded import GroundedCaption, Named, Part, compose, listed
from training.language.mentions import counted
from training.language.naming import SAY_SIZE, named, only_name, some_name, united
from training.language.nouns import definite, with_article
from training.language.referring import PREFER
from training.language.relations import Relation
from training.language.usage import Usage
from training.scenes.scene import Scene

_SAY_BACKGROUND = 0.3
_SAY_PLACE = 0.4
_BY_RELATION = 0.35
_MOST = 4

_OPENINGS = (
    "", "", "", "a photo of", "a picture of", "here we have", "I like", "look at", "we can see", "somebody put down",
    "somebody has drawn", "my favourite things are", "what I see is", "this scene has",
)  # fmt: skip
_OF_PAIRS = ("", "", "a photo of", "look at", "we can see", "here we have")


@dataclass(frozen=True, eq=False)
class _Item:
    """What is named, with an article or a number, and where that is, if it is said."""

    named: Named
    place: str

    @property
    def parts(self) -> list[Part]:
        return [self.named, self.place]


def ground(scene: Scene, usage: Usage, rng: Generator) -> GroundedCaption:
    """A caption with some of the scene's things in any order, and maybe what is behind them."""
    found = _preferred(scene, usage, rng)
    if found is None and chance(_BY_RELATION, rng):
        found = _any_relation(scene, usage, rng)
    if found is None:
        parts: list[Part] = _listing(scene, rng)
        subjects: Sequence[str] = [thing.category for thing in scene.objects]
    else:
        parts = _relating(scene, found, rng)
        subjects = [scene.objects[found.subject].category]
    if chance(_SAY_BACKGROUND, rng):
        front = all(usage.allowed(category, "front") for category in subjects) and chance(0.5, rng)
        background = Named(definite(scene.background) if chance(0.3, rng) else scene.background, scene.background_mask)
        parts = [*parts, ", in front of", background] if front else [*parts, ", with", background, "behind"]
    ending = "." if chance(0.7, rng) else ""
    return compose([*parts, ending], capitals=chance(0.7, rng))


def _listing(scene: Scene, rng: Generator) -> list[Part]:
    """Some of the things."""
    items = _items(scene, rng)
    return [pick(_OPENINGS, rng), *listed(item.parts for item in items)]


def _items(scene: Scene, rng: Generator) -> list[_Item]:
    """Names for one to four kinds of things. Things that share a name are named together, by their number."""
    kinds: dict[tuple[str, str], list[int]] = {}
    for index, thing in enumerate(scene.objects):
        kinds.setdefault((thing.category, thing.colour), []).append(index)
    categories = [category for category, _ in kinds]
    # Without a colour to name, one of several kinds of a category could not be told from the others.
    told = [(kind, members) for kind, members in kinds.items() if kind[1] or categories.count(kind[0]) == 1]
    count = int(rng.integers(1, min(_MOST, len(told)) + 1))
    definite_ones = chance(0.3, rng)
    items = []
    for (category, colour), members in shuffled(told, rng)[:count]:
        things = [scene.objects[index] for index in members]
        said = colour if categories.count(category) > 1 or chance(0.6, rng) else ""
        size = things[0].size if len(things) == 1 and chance(SAY_SIZE, rng) else ""
        if len(things) == 1 and definite_ones:
            words = f"the {named(category, said, size)}"
        else:
            words = counted(category, len(things), said, size)
        place = things[0].position if len(things) == 1 and chance(_SAY_PLACE, rng) else ""
        items.append(_Item(Named(words, united(things)), place))
    return items


def _preferred(scene: Scene, usage: Usage, rng: Generator) -> Relation | None:
    wanted = _tellable(scene, relations.preferred(scene, usage), rng)
    return pick(wanted, rng) if wanted and chance(PREFER, rng) else None


def _any_relation(scene: Scene, usage: Usage, rng: Generator) -> Relation | None:
    subject = int(rng.integers(len(scene.objects)))
    found = _tellable(scene, relations.of(scene, subject, usage), rng)
    return pick(found, rng) if found else None


def _tellable(scene: Scene, found: list[Relation], rng: Generator) -> list[Relation]:
    """Those between two things that can each be told from all others."""
    clear = {index for index in range(len(scene.objects)) if only_name(scene, index, rng) is not None}
    return [relation for relation in found if relation.subject in clear and relation.other in clear]


def _relating(scene: Scene, relation: Relation, rng: Generator) -> list[Part]:
    """One thing by another."""
    exact = chance(0.4, rng)
    ends = []
    for index in (relation.subject, relation.other):
        thing = scene.objects[index]
        alone = sum(other.category == thing.category for other in scene.objects) == 1
        name = some_name(thing, rng) if alone else only_name(scene, index, rng) or thing.category
        ends.append(Named(f"the {name}" if exact else with_article(name), thing.mask))
    subject, other = ends
    words = relation.words(rng)
    if chance(0.3, rng):
        return [words, other, "is", subject]
    if chance(0.4, rng):
        return [subject, "is", words, other]
    return [pick(_OF_PAIRS, rng), subject, words, other]
