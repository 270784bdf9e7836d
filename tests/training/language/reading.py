"""Reads sentences back: a second opinion on what they say of a scene, from the boxes alone."""

import re
from dataclasses import dataclass

import numpy as np

from training.language.usage import Usage
from training.scenes.scene import Scene, SceneObject

USAGE = Usage(
    categories=("apple", "bus", "dog", "fire engine", "goose", "key", "mouse", "owl", "scarf", "sheep", "umbrella"),
    colours=("red", "orange", "yellow", "blue", "gray"),
    backgrounds=("a brick wall", "an orange wall", "grass", "a night sky"),
    held_out_relations={
        "apple": "left",
        "dog": "right",
        "bus": "above",
        "key": "below",
        "owl": "front",
        "sheep": "next",
    },
    held_out_colours={"dog": "orange", "scarf": "gray"},
)
PLURALS = {
    "apples": "apple",
    "buses": "bus",
    "dogs": "dog",
    "fire engines": "fire engine",
    "geese": "goose",
    "keys": "key",
    "mice": "mouse",
    "owls": "owl",
    "scarves": "scarf",
    "sheep": "sheep",
    "umbrellas": "umbrella",
    "things": "thing",
}
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight")
RELATIONS = {
    "left": "to the left of|left of|on the left side of",
    "right": "to the right of|right of|on the right side of",
    "above": "above|over",
    "below": "below|under|beneath",
    "front": "in front of",
    "behind": "behind|partly hidden by",
    "next": "next to|beside",
}
PLACES = "at the (?:top|bottom)(?: left| right)?|in the middle|on the (?:left|right)(?! side)"  # fmt: skip
ANY_RELATION = "|".join(RELATIONS.values())
NOUN = "|".join(sorted({*USAGE.categories, *PLURALS, "thing"}, key=len, reverse=True))
NAME = (
    r"(?:(?:all )?(?:the|an?) )?"
    rf"(?:(?P<number>{'|'.join(NUMBERS)}) )?"
    r"(?:(?P<size>large|small) )?"
    rf"(?:(?P<colour>{'|'.join(USAGE.colours)}) )?"
    rf"(?P<noun>{NOUN})\b"
)
DESCRIPTION = re.compile(
    rf"{NAME}(?: (?P<place>{PLACES}))?(?: (?P<relation>{ANY_RELATION}) (?P<other>(?:the|an?) .*))?$", re.IGNORECASE
)


@dataclass(frozen=True)
class Read:
    """What a description asks for; "" where it leaves something open. category: "thing" for any."""

    category: str
    number: int | None
    size: str
    colour: str
    place: str
    relation: str
    other: str


def read(text: str) -> Read:
    found = DESCRIPTION.fullmatch(text)
    assert found, f"not understood: {text!r}"
    noun = found["noun"].lower()
    words = found["relation"]
    return Read(
        category=PLURALS.get(noun, noun),
        number=NUMBERS.index(found["number"].lower()) if found["number"] else None,
        size=found["size"] or "",
        colour=found["colour"] or "",
        place=found["place"] or "",
        relation=relation_of(words) if words else "",
        other=found["other"] or "",
    )


def relation_of(words: str) -> str:
    (name,) = (name for name, forms in RELATIONS.items() if words.lower() in forms.split("|"))
    return name


def fitting(scene: Scene, text: str, generous: bool = False) -> set[int]:
    """Which things a description fits; generous: also those that only some people would count."""
    wanted = read(text)
    return {index for index in range(len(scene.objects)) if _fits(scene, index, wanted, generous)}


def the_one(scene: Scene, text: str) -> int:
    """What the description names, on which all have to agree."""
    (index,) = fitting(scene, text)
    assert fitting(scene, text, generous=True) == {index}, text
    return index


def _fits(scene: Scene, index: int, wanted: Read, generous: bool) -> bool:
    thing = scene.objects[index]
    open_colour, open_size = ("", "") if generous else (None, None)
    if wanted.category not in ("thing", thing.category):
        return False
    if wanted.colour and thing.colour not in (wanted.colour, open_colour):
        return False
    if wanted.size and thing.size not in (wanted.size, open_size):
        return False
    if wanted.place and not _is_at(scene, thing, wanted.place, generous):
        return False
    if not wanted.relation:
        return True
    return any(
        holds(scene, wanted.relation, index, other, generous)
        for other in fitting(scene, wanted.other)
        if other != index
    )


def _is_at(scene: Scene, thing: SceneObject, place: str, generous: bool) -> bool:
    if not generous:
        return thing.position == place
    height, width = scene.background_mask.shape
    x, y = (thing.box[0] + thing.box[2]) / 2 / width, (thing.box[1] + thing.box[3]) / 2 / height
    slack = 0.02
    in_column = {"left": x < 1 / 3 + slack, "right": x > 2 / 3 - slack}
    in_row = {"top": y < 1 / 3 + slack, "bottom": y > 2 / 3 - slack}
    if place == "in the middle":
        return all(1 / 3 - slack < share < 2 / 3 + slack for share in (x, y))
    return all({**in_column, **in_row}[word] for word in place.split() if word in ("left", "right", "top", "bottom"))


def holds(scene: Scene, relation: str, subject: int, other: int, generous: bool = False) -> bool:
    one, two = scene.objects[subject], scene.objects[other]
    height, width = scene.background_mask.shape
    if relation in ("front", "behind"):
        covers = one.covers if relation == "front" else two.covers
        return (other if relation == "front" else subject) in covers
    if relation == "next":
        (x1, y1, x2, y2), (u1, v1, u2, v2) = one.box, two.box
        gap = np.hypot(max(0, u1 - x2, x1 - u2), max(0, v1 - y2, y1 - v2)) / min(height, width)
        return bool(gap < (0.1 if generous else 0.06))
    centre = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (one.box, two.box)]
    (x, y), (u, v) = centre
    offset = {"left": (u - x, width), "right": (x - u, width), "above": (v - y, height), "below": (y - v, height)}
    along, side = offset[relation]
    across = abs(y - v) if relation in ("left", "right") else abs(x - u)
    if generous:
        return along > 0.03 * side and across < 2.5 * along
    return along > 0.08 * side and across <= along
