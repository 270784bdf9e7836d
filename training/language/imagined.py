"""Scenes without a picture: what language needs of a scene, made up in no time, for a tokenizer's corpus."""

import numpy as np
from numpy.random import Generator

from training.language.draw import chance, pick
from training.language.usage import Usage
from training.scenes.scene import MAX_OBJECTS, POSITIONS, SIZES, Scene, SceneObject

SIDE = 64
_SHORTEST, _LONGEST = 8, 26
_AGAIN = 0.3
_PLAIN = 0.15


def imagine(usage: Usage, rng: Generator, category: str | None = None) -> Scene:
    """Two to eight rectangles, later ones over earlier ones, each called a thing. category: one that is among them."""
    count = int(rng.integers(2, MAX_OBJECTS + 1))
    owner = np.full((SIDE, SIDE), -1)
    for index in range(count):
        width, height = (int(side) for side in rng.integers(_SHORTEST, _LONGEST, 2))
        x, y = int(rng.integers(SIDE - width)), int(rng.integers(SIDE - height))
        owner[y : y + height, x : x + width] = index
    seen = [index for index in range(count) if np.count_nonzero(owner == index) >= _SHORTEST]
    boxes = {index: _box(owner == index) for index in seen}
    seen.sort(key=lambda index: boxes[index][0] + boxes[index][2])
    rank = {index: place for place, index in enumerate(seen)}
    objects: list[SceneObject] = []
    for index in seen:
        names = [thing.category for thing in objects]
        if category is not None and not names:
            name = category
        else:
            name = pick(names, rng) if names and chance(_AGAIN, rng) else pick(usage.categories, rng)
        colour = "" if chance(_PLAIN, rng) else pick(usage.colours, rng)
        box = boxes[index]
        covers = tuple(rank[under] for under in seen if under < index and _touch(box, boxes[under]))
        objects.append(_thing(name, colour if usage.allowed_colour(name, colour) else "", box, owner == index, covers))
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    return Scene(image, tuple(objects), pick(usage.backgrounds, rng), owner == -1)


Corners = tuple[float, float, float, float]


def _box(mask: np.ndarray) -> Corners:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _touch(one: Corners, other: Corners) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _thing(name: str, colour: str, box: Corners, mask: np.ndarray, covers: tuple[int, ...]) -> SceneObject:
    x1, y1, x2, y2 = box
    area = (x2 - x1) * (y2 - y1) / SIDE**2
    size = SIZES[0] if area > 0.08 else SIZES[1] if area < 0.03 else ""
    position = POSITIONS[int(3 * (y1 + y2) / (2 * SIDE))][int(3 * (x1 + x2) / (2 * SIDE))]
    return SceneObject(name, colour, size, position, mask, box, covers)
