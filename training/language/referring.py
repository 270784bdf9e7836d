"""Referring expressions: for one thing, for several at once, for the background, and for what is not there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from numpy.random import Generator

from shared.masks import Mask
from training.data import templates
from training.language import relations
from training.language.describing import Description
from training.language.draw import chance, in_turn, pick, shuffled, weighted
from training.language.naming import only_name, united
from training.language.nouns import NUMBERS, definite, plural, without_article
from training.language.usage import Usage
from training.scenes.scene import POSITIONS, Scene

Kind = Literal["unique", "ambiguous", "background", "absent"]
KINDS: dict[Kind, float] = {"unique": 0.55, "ambiguous": 0.15, "background": 0.1, "absent": 0.2}
_PRACTICE: dict[Kind, float] = {"unique": 0.45, "ambiguous": 0.1, "background": 0.05, "absent": 0.4}
"""Whoever has mostly met what is there looks for it where it is not."""
PREFER = 0.7
"""How often the compositional split says what only it may say, where it can."""

_PLACES = tuple(words for row in POSITIONS for words in row)
_UNIQUE = {"category": 0.2, "colour": 0.2, "size": 0.1, "position": 0.2, "relation": 0.2, "thing": 0.1}
_HARD = {"colour": 0.4, "position": 0.3, "relation": 0.3}
_TRIES = 6


@dataclass(frozen=True, eq=False)
class Referring:
    """expression: what to segment, as in "the small apple".

    answer: with one [SEG] for mask: (H, W), all that the expression fits; without any where nothing does and mask is
    None. kind: "ambiguous" where it fits several things. about: index of the one thing that it fits.
    """

    expression: str
    answer: str
    mask: Mask | None
    kind: Kind
    about: int | None = None


def refseg(scene: Scene, usage: Usage, rng: Generator) -> Referring:
    """An expression and how it is answered."""
    match weighted(_PRACTICE if usage.practice else KINDS, rng):
        case "background":
            return _background(scene, rng)
        case "absent":
            return _absent(scene, usage, rng)
        case "ambiguous":
            found = _ambiguous(scene, rng)
            if found is not None:
                return found
    return unique(scene, usage, rng) or _background(scene, rng)


def unique(scene: Scene, usage: Usage, rng: Generator) -> Referring | None:
    """An expression that fits one thing alone; None where no thing can be told from the others."""
    found = describe_preferred(scene, usage, rng) or describe_one(scene, usage, rng)
    if found is None:
        return None
    index, description = found
    return Referring(f"the {description.name}", segmented(rng), scene.objects[index].mask, "unique", index)


def segmented(rng: Generator) -> str:
    return templates.usual(templates.SEGMENTED, rng)


def describe_one(scene: Scene, usage: Usage, rng: Generator) -> tuple[int, Description] | None:
    """A thing and a description that fits it alone."""
    for index in shuffled(range(len(scene.objects)), rng):
        for form in in_turn(_UNIQUE, rng):
            description = _describe(scene, index, form, usage, rng)
            if description is not None and description.fitting(scene) == (index,):
                return index, description
    return None


def describe_preferred(scene: Scene, usage: Usage, rng: Generator) -> tuple[int, Description] | None:
    """As `describe_one`, by a relation that is held out for its category; mostly, where the split prefers any."""
    wanted = relations.preferred(scene, usage)
    if not wanted or not chance(PREFER, rng):
        return None
    for relation in shuffled(wanted, rng):
        thing = scene.objects[relation.subject]
        name = only_name(scene, relation.other, rng)
        for colour in ("", thing.colour):
            if name is not None:
                found = Description.related(relation, name, relation.words(rng), thing.category, colour)
                if found.fitting(scene) == (relation.subject,):
                    return relation.subject, found
    return None


def _describe(scene: Scene, index: int, form: str, usage: Usage, rng: Generator) -> Description | None:
    """A true description of the thing in the form, which others may fit too; None where it has no such attribute."""
    thing = scene.objects[index]
    colour = thing.colour if chance(0.5, rng) else ""
    match form:
        case "category":
            return Description(thing.category)
        case "colour" if thing.colour:
            size = thing.size if chance(0.25, rng) else ""
            return Description(thing.category, thing.colour, size)
        case "size" if thing.size:
            return Description(thing.category, colour, thing.size)
        case "position":
            return Description(thing.category, colour, position=thing.position)
        case "relation":
            return _describe_relation(scene, index, thing.category, colour, usage, rng)
        case "thing":
            match weighted(_HARD, rng):
                case "colour" if thing.colour:
                    return Description(colour=thing.colour)
                case "position":
                    return Description(colour=colour, position=thing.position)
                case "relation":
                    return _describe_relation(scene, index, "", colour, usage, rng)
    return None


def _describe_relation(
    scene: Scene, index: int, category: str, colour: str, usage: Usage, rng: Generator
) -> Description | None:
    found = relations.of(scene, index, usage)
    if not found:
        return None
    relation = relations.choose(found, scene, usage, rng)
    name = only_name(scene, relation.other, rng)
    return None if name is None else Description.related(relation, name, relation.words(rng), category, colour)


def _ambiguous(scene: Scene, rng: Generator) -> Referring | None:
    """What fits several things names all of them."""
    thing = pick(scene.objects, rng)
    options = [
        Description(thing.category),
        Description(thing.category, thing.colour),
        Description(colour=thing.colour),
        Description(size=thing.size),
        Description(thing.category, position=thing.position),
        Description(position=thing.position),
    ]
    for description in shuffled(options, rng):
        if description == Description():
            continue
        found = description.fitting(scene)
        if found is not None and len(found) > 1:
            expression = _for_several(description, len(found), rng)
            return Referring(expression, segmented(rng), united(scene.objects[index] for index in found), "ambiguous")
    return None


def _for_several(description: Description, count: int, rng: Generator) -> str:
    """In the plural, or, of a category, in the singular by somebody who overlooks that there are several."""
    forms = [f"the {description.names}", f"all the {description.names}", f"the {NUMBERS[count]} {description.names}"]
    if description.category:
        forms += [f"the {description.name}"] * 2
    return pick(forms, rng)


def _background(scene: Scene, rng: Generator) -> Referring:
    expression = "the background" if chance(0.15, rng) else definite(scene.background)
    return Referring(expression, segmented(rng), scene.background_mask, "background")


def _absent(scene: Scene, usage: Usage, rng: Generator) -> Referring:
    """What is not there at all, or, half the time, things that are there but not so."""
    name = describe_absent(scene, usage, rng) if chance(0.5, rng) else None
    name = name or name_unseen(scene, usage, rng)
    return Referring(f"the {name}", templates.ABSENT.format(expression=name), None, "absent")


def name_unseen(scene: Scene, usage: Usage, rng: Generator) -> str:
    """A category that the scene does not show, perhaps with a colour, or, rarely, another background."""
    if len(usage.backgrounds) > 1 and chance(0.1, rng):
        return without_article(pick([name for name in usage.backgrounds if name != scene.background], rng))
    category = unseen_category(scene, usage, rng)
    colour = pick(usage.colours, rng)
    if chance(0.4, rng) and usage.allowed_colour(category, colour):
        return f"{colour} {category}"
    return category


def unseen_category(scene: Scene, usage: Usage, rng: Generator) -> str:
    """A category that the scene does not show. Raises IndexError where it shows all of them."""
    shown = {thing.category for thing in scene.objects}
    for _ in range(_TRIES):
        category = pick(usage.categories, rng)
        if category not in shown and not _says(scene.background, category):
            return category
    return pick([name for name in usage.categories if name not in shown and not _says(scene.background, name)], rng)


def describe_absent(scene: Scene, usage: Usage, rng: Generator) -> str | None:
    """What a category of the scene is not: in another colour, elsewhere, or in no such relation."""
    for thing, form in zip(shuffled(scene.objects, rng), _forms(rng), strict=False):
        description = _deny(scene, thing.category, form, usage, rng)
        if description is not None and description.fitting(scene) == ():
            return description.name
    return None


def _forms(rng: Generator) -> Iterator[str]:
    for _ in range(_TRIES):
        yield weighted(_HARD, rng)


def _deny(scene: Scene, category: str, form: str, usage: Usage, rng: Generator) -> Description | None:
    """Something that may be said of the category, and may turn out to be true."""
    match form:
        case "colour":
            colour = pick(usage.colours, rng)
            return Description(category, colour) if usage.allowed_colour(category, colour) else None
        case "position":
            return Description(category, position=pick(_PLACES, rng))
    name = pick(relations.RELATIONS, rng)
    other = int(rng.integers(len(scene.objects)))
    other_name = only_name(scene, other, rng)
    if other_name is None or scene.objects[other].category == category or not usage.allowed(category, name):
        return None
    words = pick(relations.WORDINGS[name], rng)
    return Description(category, relation=name, other=other, other_name=other_name, words=words)


def _says(phrase: str, noun: str) -> bool:
    return noun in phrase.split() or plural(noun) in phrase.split()
