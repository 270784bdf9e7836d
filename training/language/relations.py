"""How two things of a scene stand to each other, and the words for it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from numpy.random import Generator

from training.language.draw import pick
from training.language.usage import Usage
from training.scenes.scene import Scene

WORDINGS: dict[str, tuple[str, ...]] = {
    "left": ("to the left of", "to the left of", "left of", "on the left side of"),
    "right": ("to the right of", "to the right of", "right of", "on the right side of"),
    "above": ("above", "above", "over"),
    "below": ("below", "below", "under", "beneath"),
    "front": ("in front of",),
    "behind": ("behind", "behind", "partly hidden by"),
    "next": ("next to", "next to", "beside"),
}
RELATIONS = tuple(WORDINGS)
# Shares of the picture's sides: how far apart two centres are for a surely true word, and for one that may pass.
_SURE, _POSSIBLE = 0.08, 0.02
# A direction may pass up to this slope away from its axis; it is surely right up to a slope of 1.
_SLOPE = 3.0
# Shares of the picture's shorter side between the boxes of neighbours.
_NEAR, _NOT_FAR = 0.06, 0.12


@dataclass(frozen=True)
class Relation:
    """`subject` is `name` (as in "left") of `other`; both are indices of the scene's objects."""

    name: str
    subject: int
    other: int

    def words(self, rng: Generator) -> str:
        return pick(WORDINGS[self.name], rng)


def surely(scene: Scene, name: str, subject: int, other: int) -> bool:
    """Everybody would agree that the relation holds."""
    if name in _CLOSE:
        covering, gap = _covering(scene, subject, other), _NEAR
        return not covering and _gap(scene, subject, other) < gap if name == "next" else covering == name
    along, across = _offset(scene, name, subject, other)
    return along > _SURE * _side(scene, name) and along >= abs(across)


def possibly(scene: Scene, name: str, subject: int, other: int) -> bool:
    """Somebody might say so."""
    if name == "next":
        return _gap(scene, subject, other) < _NOT_FAR
    if name in _CLOSE:
        return _covering(scene, subject, other) in (name, _BOTH)
    along, across = _offset(scene, name, subject, other)
    return along > _POSSIBLE * _side(scene, name) and along * _SLOPE >= abs(across)


def of(scene: Scene, subject: int, usage: Usage) -> list[Relation]:
    """All that is surely true of the subject and may be said of it."""
    others = [index for index in range(len(scene.objects)) if index != subject]
    category = scene.objects[subject].category
    names = [name for name in RELATIONS if usage.allowed(category, name)]
    return [Relation(name, subject, index) for index in others for name in names if surely(scene, name, subject, index)]


def between(scene: Scene, subject: int, other: int, usage: Usage) -> list[Relation]:
    """All that is surely true of the subject and the other one and may be said of it."""
    category = scene.objects[subject].category
    return [
        Relation(name, subject, other)
        for name in RELATIONS
        if usage.allowed(category, name) and surely(scene, name, subject, other)
    ]


def preferred(scene: Scene, usage: Usage) -> list[Relation]:
    """What only the compositional split may say, where the scene shows it."""
    return list(_preferred(scene, usage)) if usage.compositional else []


def choose(relations: list[Relation], scene: Scene, usage: Usage, rng: Generator) -> Relation:
    """One of them, of the preferred ones if there are any. Raises IndexError where there are none at all."""
    if usage.compositional:
        wanted = [each for each in relations if usage.prefers(scene.objects[each.subject].category, each.name)]
        relations = wanted or relations
    return pick(relations, rng)


def _preferred(scene: Scene, usage: Usage) -> Iterator[Relation]:
    for subject, thing in enumerate(scene.objects):
        name = usage.held_out_relations.get(thing.category)
        if name is not None:
            for other in range(len(scene.objects)):
                if other != subject and surely(scene, name, subject, other):
                    yield Relation(name, subject, other)


_CLOSE = ("next", "front", "behind")
_BOTH = "both"


def _covering(scene: Scene, subject: int, other: int) -> str:
    """Which of the two is in front, told of the subject: "front", "behind", "" or, where they interlock, "both"."""
    front = other in scene.objects[subject].covers
    behind = subject in scene.objects[other].covers
    if front and behind:
        return _BOTH
    return "front" if front else "behind" if behind else ""


def _side(scene: Scene, name: str) -> int:
    height, width = scene.background_mask.shape
    return int(width if name in ("left", "right") else height)


def _offset(scene: Scene, name: str, subject: int, other: int) -> tuple[float, float]:
    """Pixels between the centres of the boxes: along the direction, and across it."""
    x1, y1, x2, y2 = scene.objects[subject].box
    u1, v1, u2, v2 = scene.objects[other].box
    right, down = (x1 + x2 - u1 - u2) / 2, (y1 + y2 - v1 - v2) / 2
    match name:
        case "left":
            return -right, down
        case "right":
            return right, down
        case "above":
            return -down, right
    return down, right


def _gap(scene: Scene, subject: int, other: int) -> float:
    """The space between the boxes as a share of the picture's shorter side; 0 where they touch."""
    x1, y1, x2, y2 = scene.objects[subject].box
    u1, v1, u2, v2 = scene.objects[other].box
    across, down = max(0.0, u1 - x2, x1 - u2), max(0.0, v1 - y2, y1 - v2)
    return math.hypot(across, down) / int(min(scene.background_mask.shape))
