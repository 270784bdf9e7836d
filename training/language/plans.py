"""Sentence plans: the ways in which a caption tells what there is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from numpy.random import Generator

from training.language import relations
from training.language.draw import chance, pick
from training.language.grounded import Part, listed
from training.language.mentions import Mention
from training.language.nouns import NUMBERS
from training.language.positions import column
from training.language.usage import Usage
from training.scenes.scene import Scene


@dataclass(frozen=True, eq=False)
class Told:
    """What a plan is given to tell. places: whether it may say where things are."""

    scene: Scene
    mentions: Sequence[Mention]
    places: bool
    usage: Usage
    rng: Generator


@dataclass(frozen=True)
class Plan:
    """tell: the parts of one sentence or more, without the last full stop; None where the plan does not fit.

    opens: words such as "in front of grass," may come before it. closes: words such as "in front of grass" may follow.
    """

    tell: Callable[[Told], list[Part] | None]
    opens: bool = True
    closes: bool = True


def _items(told: Told, mentions: Sequence[Mention] | None = None) -> list[list[Part]]:
    return [
        [mention.named, mention.place if told.places else ""]
        for mention in (told.mentions if mentions is None else mentions)
    ]


def bare_list(told: Told) -> list[Part]:
    """A red apple on the left, two dogs and a car."""
    return listed(_items(told))


def there_is(told: Told) -> list[Part]:
    """There is a red apple on the left, two dogs and a car."""
    return [f"there {told.mentions[0].verb}", *listed(_items(told))]


def here_is(told: Told) -> list[Part]:
    """In the picture, there is a red apple, two dogs and a car."""
    return ["in the picture, there", told.mentions[0].verb, *listed(_items(told))]


def shows(told: Told) -> list[Part]:
    """The picture shows a red apple on the left, two dogs and a car."""
    opening = pick(("the picture shows", "the image shows", "this is a picture of"), told.rng)
    return [opening, *listed(_items(told))]


def can_see(told: Told) -> list[Part]:
    """You can see a red apple on the left, two dogs and a car."""
    return ["you can see", *listed(_items(told))]


def from_left_to_right(told: Told) -> list[Part]:
    """From left to right, there is a red apple at the top left, a dog in the middle and a car on the right."""
    return ["from left to right, there", told.mentions[0].verb, *listed(_items(told))]


def counted_first(told: Told) -> list[Part]:
    """There are three things: a red apple and two dogs."""
    count = sum(len(mention.members) for mention in told.mentions)
    return [f"there are {NUMBERS[count]} things:", *listed(_items(told))]


def place_first(told: Told) -> list[Part] | None:
    """On the left is a red apple, in the middle are two dogs and at the top right is a car."""
    places = {mention.place for mention in told.mentions}
    if "" in places or len(places) < len(told.mentions):
        return None
    return listed([mention.place, mention.verb, mention.named] for mention in told.mentions)


def by_thirds(told: Told) -> list[Part] | None:
    """On the left, there is a red apple and a bus; on the right, there are two dogs."""
    thirds: dict[str, list[Mention]] = {}
    for mention in told.mentions:
        columns = {column(told.scene.objects[index]) for index in mention.members}
        if len(columns) > 1:
            return None
        thirds.setdefault(columns.pop(), []).append(mention)
    parts = list[Part]()
    for third, mentions in thirds.items():
        parts += [";"] if parts else []
        parts += [f"{third}, there {mentions[0].verb}", *listed([mention.named] for mention in mentions)]
    return parts


def sentence_each(told: Told) -> list[Part] | None:
    """A red apple is on the left. Two dogs are in the middle. A car is at the top right."""
    if not all(mention.place for mention in told.mentions):
        return None
    parts = list[Part]()
    for mention in told.mentions:
        parts += ["."] if parts else []
        parts += [mention.named, mention.verb, mention.place]
    return parts


def two_sentences(told: Told) -> list[Part] | None:
    """The picture shows a red apple and two dogs. There is also a car at the top right."""
    if len(told.mentions) < 2:
        return None
    cut = int(told.rng.integers(1, len(told.mentions)))
    first, second = told.mentions[:cut], told.mentions[cut:]
    opening = "the picture shows" if chance(0.5, told.rng) else f"there {first[0].verb}"
    also = f"there {second[0].verb} also"
    return [opening, *listed(_items(told, first)), ".", also, *listed(_items(told, second))]


def first_and_then(told: Told) -> list[Part] | None:
    """First there is a red apple at the top left, then two dogs and then a car on the right."""
    if len(told.mentions) < 2:
        return None
    first, *others = _items(told)
    return listed([[f"first there {told.mentions[0].verb}", *first], *(["then", *item] for item in others)])


def related(told: Told) -> list[Part] | None:
    """A red apple at the top is to the left of a dog. Behind a car on the right, there is a bus."""
    parts, index, pairs = list[Part](), 0, 0
    while index < len(told.mentions):
        parts += ["."] if parts else []
        pair = _pair(told, index)
        if pair is not None:
            parts += pair
            index, pairs = index + 2, pairs + 1
            continue
        mention = told.mentions[index]
        index += 1
        if told.places and mention.place:
            parts += [mention.named, mention.verb, mention.place]
        else:
            parts += [f"there {mention.verb}{' also' if index > 1 else ''}", mention.named]
    return parts if pairs else None


def related_pair(told: Told) -> list[Part] | None:
    """A red apple to the left of a dog."""
    if len(told.mentions) != 2 or not told.mentions[0].single or not told.mentions[1].single:
        return None
    (first,), (second,) = (mention.members for mention in told.mentions)
    found = relations.between(told.scene, first, second, told.usage)
    if not found:
        return None
    relation = relations.choose(found, told.scene, told.usage, told.rng)
    return [told.mentions[0].named, relation.words(told.rng), told.mentions[1].named]


def _pair(told: Told, index: int) -> list[Part] | None:
    """One sentence about a mention and the next one, if something can be said of the two."""
    pair = told.mentions[index : index + 2]
    if len(pair) < 2 or not all(mention.single for mention in pair):
        return None
    (first,), (second,) = (mention.members for mention in pair)
    found = [
        *relations.between(told.scene, first, second, told.usage),
        *relations.between(told.scene, second, first, told.usage),
    ]
    if not found:
        return None
    relation = relations.choose(found, told.scene, told.usage, told.rng)
    words = relation.words(told.rng)
    # Where the other one is, the relation tells.
    (placed,) = _items(told, pair[:1])
    if relation.subject == second:
        return [words, *placed, ", there is", pair[1].named]
    if chance(0.3, told.rng):
        return ["there is", *placed, words, pair[1].named]
    return [*placed, "is", words, pair[1].named]


BARE: dict[Plan, float] = {
    Plan(bare_list, opens=False): 3,
    Plan(there_is): 2,
    Plan(shows, opens=False): 1,
    Plan(can_see): 1,
}
"""For short captions."""

RELATED: dict[Plan, float] = {
    Plan(related, opens=False, closes=False): 5,
    Plan(related_pair, opens=False): 1,
}

ALL: dict[Plan, float] = {
    **BARE,
    **RELATED,
    Plan(here_is, opens=False): 1,
    Plan(from_left_to_right): 1,
    Plan(counted_first, closes=False): 1,
    Plan(place_first, opens=False, closes=False): 1.5,
    Plan(by_thirds, opens=False, closes=False): 1.5,
    Plan(sentence_each, opens=False, closes=False): 1.5,
    Plan(two_sentences, opens=False, closes=False): 1,
    Plan(first_and_then, closes=False): 1,
}
