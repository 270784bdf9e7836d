"""Questions that are answered yes or no, each as often with the one as with the other."""

from numpy.random import Generator

from training.language import relations
from training.language.describing import Description, of_category
from training.language.draw import chance, in_turn, pick, shuffled, weighted
from training.language.naming import only_name
from training.language.nouns import with_article
from training.language.positions import possibly_at, surely_at
from training.language.question import Question
from training.language.referring import unseen_category
from training.language.relations import Relation
from training.language.usage import Usage
from training.scenes.scene import POSITIONS, SIZES, Scene, SceneObject

YES, NO = "Yes.", "No."
_PLACES = tuple(words for row in POSITIONS for words in row)
_TRIES = 8
_PRESENT = (
    "Is there {name} in the picture?",
    "Is there {name}?",
    "Can you see {name}?",
    "Is {name} in the picture?",
)


def is_there(scene: Scene, usage: Usage, rng: Generator) -> Question | None:
    """Whether there is such a thing: of a category, of a colour, or both, so that half of the answers are "no"."""
    thing = pick(scene.objects, rng)
    yes = chance(0.5, rng)
    form = weighted({"category": 0.5, "both": 0.35, "colour": 0.15}, rng)
    if form == "category":
        category = thing.category if yes else unseen_category(scene, usage, rng)
        return _asks_presence(category, of_category(scene, category), rng)
    for _ in range(_TRIES):
        colour = thing.colour if yes else pick(usage.colours, rng)
        description = Description(thing.category if form == "both" else "", colour)
        if not colour or not usage.allowed_colour(thing.category, colour):
            continue
        found = description.fitting(scene)
        if found is not None and bool(found) == yes:
            return _asks_presence(description.name, found, rng)
    return None


def _asks_presence(name: str, found: tuple[int, ...], rng: Generator) -> Question:
    question = pick(_PRESENT, rng).format(name=with_article(name))
    return Question(question, YES if found else NO, "yes_no", seen=found)


def has_attribute(scene: Scene, usage: Usage, rng: Generator) -> Question | None:
    for about in shuffled(range(len(scene.objects)), rng):
        thing = scene.objects[about]
        if len(of_category(scene, thing.category)) == 1:
            return asks_attribute(scene, about, f"the {thing.category}", usage, rng)
    return None


def asks_attribute(scene: Scene, about: int, name: str, usage: Usage, rng: Generator) -> Question:
    """Whether the thing has a colour, a size or a place."""
    thing = scene.objects[about]
    yes = chance(0.5, rng)
    for form in in_turn({"colour": 0.5, "size": 0.2, "position": 0.3}, rng):
        words = _attribute(scene, thing, form, yes, usage, rng)
        if words:
            return Question(f"Is {name} {words}?", YES if yes else NO, "yes_no", about=about)
    # A place that is not clear can still be denied.
    far = next(words for words in _PLACES if not possibly_at(scene, thing, words))
    return Question(f"Is {name} {far}?", NO, "yes_no", about=about)


def _attribute(scene: Scene, thing: SceneObject, form: str, yes: bool, usage: Usage, rng: Generator) -> str:
    """A true attribute, or a false one; "" where the thing has none of this form."""
    match form:
        case "colour" if thing.colour:
            others = [
                each for each in usage.colours if each != thing.colour and usage.allowed_colour(thing.category, each)
            ]
            return thing.colour if yes else pick(others, rng)
        case "size" if thing.size:
            return thing.size if yes else next(size for size in SIZES if size != thing.size)
        case "position" if yes:
            return thing.position if surely_at(scene, thing, thing.position) else ""
        case "position":
            return pick([words for words in _PLACES if not possibly_at(scene, thing, words)], rng)
    return ""


def is_related(scene: Scene, usage: Usage, rng: Generator) -> Question | None:
    """Whether one thing stands in a relation to another; half of the answers are "no"."""
    yes = chance(0.5, rng)
    for subject in shuffled(range(len(scene.objects)), rng):
        other = int(rng.integers(len(scene.objects)))
        if other == subject:
            continue
        found = relations.between(scene, subject, other, usage) if yes else _untrue(scene, subject, other, usage)
        if found:
            asked = asks_whether_related(scene, relations.choose(found, scene, usage, rng), yes, rng)
            if asked is not None:
                return asked
    return None


def _untrue(scene: Scene, subject: int, other: int, usage: Usage) -> list[Relation]:
    category = scene.objects[subject].category
    return [
        Relation(name, subject, other)
        for name in relations.RELATIONS
        if usage.allowed(category, name) and not relations.possibly(scene, name, subject, other)
    ]


def asks_whether_related(scene: Scene, relation: Relation, yes: bool, rng: Generator) -> Question | None:
    name, other_name = only_name(scene, relation.subject, rng), only_name(scene, relation.other, rng)
    if name is None or other_name is None:
        return None
    question = f"Is the {name} {relation.words(rng)} the {other_name}?"
    return Question(
        question, YES if yes else NO, "yes_no", about=relation.subject, seen=(relation.subject, relation.other)
    )
