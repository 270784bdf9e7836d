"""Questions and their short answers. Each kind of question is answered in one form, so that one answer is right."""

from collections.abc import Callable

from numpy.random import Generator

from training.language import relations
from training.language.describing import Description, of_category
from training.language.draw import chance, in_turn, pick, shuffled
from training.language.naming import coloured_name, only_name, united
from training.language.nouns import NUMBERS, plural, sentence, with_article
from training.language.positions import is_clear
from training.language.question import Question
from training.language.referring import PREFER, describe_one, unseen_category
from training.language.relations import Relation
from training.language.usage import Usage
from training.language.whether import asks_attribute, asks_whether_related, has_attribute, is_related, is_there
from training.scenes.scene import SIZES, Scene, SceneObject

# More of one category are hard to count for anyone, where they overlap.
_MOST_ALIKE = 4

_WHAT_AT = ("What is {place}?", "What is {place}?", "What can you see {place}?", "What thing is {place}?")
_WHAT_RELATED = ("What is {words} {name}?", "What is {words} {name}?", "What thing is {words} {name}?")
_WHAT_BOX = (
    "What is this?",
    "What is this?",
    "What is in <box1>?",
    "What is <box1>?",
    "What is in this region?",
)
_WHERE = ("Where is the {name}?", "Where is the {name}?", "Where in the picture is the {name}?")
_HOW_MANY = ("How many {names} are there?", "How many {names} are there?", "How many {names} are in the picture?")
_COLOUR = ("What colour is the {name}?", "What color is the {name}?", "Which colour is the {name}?")
_BACKGROUND = ("What is in the background?", "What is the background?", "What can you see in the background?")
_SHOW = ("Show me the {name}.", "Show me the {name}.", "Point at the {name}.")


def vqa(scene: Scene, usage: Usage, rng: Generator) -> Question:
    """A question about the scene and its answer."""
    if relations.preferred(scene, usage) and chance(PREFER, rng):
        found = _preferred(scene, usage, rng)
        if found is not None:
            return found
    for ask in in_turn(_PRACTICE if usage.practice else _FORMS, rng):
        found = ask(scene, usage, rng)
        if found is not None:
            return found
    raise AssertionError("every scene has a background to ask for")


def follow_up(scene: Scene, about: int, usage: Usage, rng: Generator) -> Question | None:
    """A question about a thing that was just spoken of, as "it"; None where nothing more can be asked of it."""
    thing = scene.objects[about]
    for kind in shuffled(("what", "where", "colour", "size", "attribute", "relation", "show"), rng):
        match kind:
            case "what":
                return Question("What is it?", _named(thing), "what", about=about)
            case "where" if is_clear(scene, thing):
                return Question("Where is it?", sentence(thing.position), "where", about=about)
            case "colour" if thing.colour:
                question = pick(("What colour is it?", "What color is it?", "Which colour is it?"), rng)
                return Question(question, sentence(thing.colour), "colour", about=about)
            case "size" if thing.size:
                return Question("Is it large or small?", sentence(thing.size), "size", about=about)
            case "attribute":
                return asks_attribute(scene, about, "it", usage, rng)
            case "relation":
                found = _what_related(scene, about, "it", usage, rng)
                if found is not None:
                    return found
            case "show":
                question = pick(("Show it to me.", "Segment it.", "Where is it? Answer with a mask."), rng)
                return Question(question, "Sure, it is [SEG].", "mask", masks=(thing.mask,), about=about)
    return None


def _what_at(scene: Scene, usage: Usage, rng: Generator) -> Question | None:
    for thing in shuffled(scene.objects, rng):
        found = Description(position=thing.position).fitting(scene)
        if found is not None and len(found) == 1:
            question = pick(_WHAT_AT, rng).format(place=thing.position)
            return Question(question, _named(thing), "what", about=found[0])
    return None


def _what_is_related(scene: Scene, usage: Usage, rng: Generator) -> Question | None:
    for other in shuffled(range(len(scene.objects)), rng):
        name = only_name(scene, other, rng)
        found = name and _what_related(scene, other, f"the {name}", usage, rng)
        if found:
            return found
    return None


def _what_related(scene: Scene, other: int, name: str, usage: Usage, rng: Generator) -> Question | None:
    """What one thing stands in a relation to another one."""
    for relation in shuffled(relations.RELATIONS, rng)[:3]:
        found = Description(relation=relation, other=other).fitting(scene)
        if found is not None and len(found) == 1:
            thing = scene.objects[found[0]]
            if usage.allowed(thing.category, relation):
                return _asks_related(scene, Relation(relation, found[0], other), name, rng)
    return None


def _asks_related(scene: Scene, relation: Relation, name: str, rng: Generator) -> Question:
    question = pick(_WHAT_RELATED, rng).format(words=relation.words(rng), name=name)
    return Question(question, _named(scene.objects[relation.subject]), "what", about=relation.subject)


def _what_in_box(scene: Scene, usage: Usage, rng: Generator) -> Question:
    about = int(rng.integers(len(scene.objects)))
    thing = scene.objects[about]
    return Question(pick(_WHAT_BOX, rng), _named(thing), "what", box=thing.box, about=about)


def _where(scene: Scene, usage: Usage, rng: Generator) -> Question | None:
    for about in shuffled(range(len(scene.objects)), rng):
        thing, name = scene.objects[about], only_name(scene, about, rng)
        if name is not None and is_clear(scene, thing):
            question = pick(_WHERE, rng).format(name=name)
            return Question(question, sentence(thing.position), "where", about=about)
    return None


def _how_many(scene: Scene, usage: Usage, rng: Generator) -> Question | None:
    """How many of a category, of a colour, of both, or of all things; now and then of what is not there."""
    for form in in_turn({"category": 0.4, "colour": 0.2, "both": 0.1, "all": 0.15, "none": 0.15}, rng):
        thing = pick(scene.objects, rng)
        match form:
            case "all":
                return _asks_number(Description(), tuple(range(len(scene.objects))), rng)
            case "none":
                return _asks_number(Description(unseen_category(scene, usage, rng)), (), rng)
            case "category":
                description = Description(_often_several(scene, rng))
            case "colour":
                description = Description(colour=thing.colour or pick(usage.colours, rng))
            case _:
                colour = thing.colour if chance(0.6, rng) else pick(usage.colours, rng)
                description = Description(thing.category, colour)
                if not usage.allowed_colour(thing.category, colour):
                    continue
        found = description.fitting(scene)
        if found is not None and len(found) <= _MOST_ALIKE:
            return _asks_number(description, found, rng)
    return None


def _often_several(scene: Scene, rng: Generator) -> str:
    """A category of the scene, more often one that there are several of."""
    categories = [thing.category for thing in scene.objects]
    several = [category for category in categories if categories.count(category) > 1]
    return pick(several if several and chance(0.6, rng) else categories, rng)


def _asks_number(description: Description, found: tuple[int, ...], rng: Generator) -> Question:
    question = pick(_HOW_MANY, rng).format(names=description.names)
    return Question(question, sentence(NUMBERS[len(found)]), "how_many", seen=found)


def _colour(scene: Scene, usage: Usage, rng: Generator) -> Question | None:
    for about in shuffled(range(len(scene.objects)), rng):
        thing = scene.objects[about]
        alike = of_category(scene, thing.category)
        if thing.colour and all(scene.objects[other].colour == thing.colour for other in alike):
            answer = sentence(thing.colour)
            if len(alike) > 1:
                return Question(f"What colour are the {plural(thing.category)}?", answer, "colour", seen=alike)
            return Question(pick(_COLOUR, rng).format(name=thing.category), answer, "colour", about=about)
    return None


def _size(scene: Scene, usage: Usage, rng: Generator) -> Question | None:
    for about in shuffled(range(len(scene.objects)), rng):
        thing, name = scene.objects[about], only_name(scene, about, rng)
        if thing.size and name is not None and not name.startswith(SIZES):
            return Question(f"Is the {name} large or small?", sentence(thing.size), "size", about=about)
    return None


def _background(scene: Scene, usage: Usage, rng: Generator) -> Question:
    return Question(pick(_BACKGROUND, rng), sentence(scene.background), "background")


def _show(scene: Scene, usage: Usage, rng: Generator) -> Question | None:
    """A question that is answered with masks."""
    found = describe_one(scene, usage, rng)
    if found is None:
        return None
    about, description = found
    question = pick(_SHOW, rng).format(name=description.name)
    answer = f"<p> The {description.name} </p> [SEG] is here."
    return Question(question, answer, "mask", masks=(scene.objects[about].mask,), about=about)


def _show_all(scene: Scene, usage: Usage, rng: Generator) -> Question | None:
    """As `_show`, of all things of a category or colour."""
    thing = pick(scene.objects, rng)
    for description in shuffled((Description(thing.category), Description(colour=thing.colour)), rng):
        found = description.fitting(scene) if description != Description() else None
        if found is not None and len(found) > 1:
            question = pick(("Show me all the {names}.", "Show me the {names}."), rng).format(names=description.names)
            mask = united(scene.objects[index] for index in found)
            return Question(question, f"<p> The {description.names} </p> [SEG] are here.", "mask", masks=(mask,))
    return None


def _preferred(scene: Scene, usage: Usage, rng: Generator) -> Question | None:
    """By a relation that only the compositional split may speak of."""
    for relation in shuffled(relations.preferred(scene, usage), rng):
        name = only_name(scene, relation.other, rng)
        if name is not None and chance(0.5, rng):
            description = Description(relation=relation.name, other=relation.other)
            if description.fitting(scene) == (relation.subject,):
                return _asks_related(scene, relation, f"the {name}", rng)
        found = asks_whether_related(scene, relation, True, rng)
        if found is not None:
            return found
    return None


def _named(thing: SceneObject) -> str:
    """How a question for a thing is answered: with its colour, if it has one, and never its size."""
    return sentence(with_article(coloured_name(thing)))


Ask = Callable[[Scene, Usage, Generator], Question | None]

_FORMS: dict[Ask, float] = {
    _what_at: 0.08,
    _what_is_related: 0.08,
    _what_in_box: 0.12,
    _where: 0.13,
    _how_many: 0.14,
    _colour: 0.12,
    _size: 0.03,
    _background: 0.05,
    is_there: 0.08,
    has_attribute: 0.06,
    is_related: 0.06,
    _show: 0.03,
    _show_all: 0.02,
}

_PRACTICE = {**_FORMS, is_there: 0.12, has_attribute: 0.1, is_related: 0.16, _what_is_related: 0.12}
"""Relations, and yes or no, are what a small model learns last."""
