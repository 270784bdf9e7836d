"""Composing a scene: a background, two to eight things in groups of one to three alike, and the exact mask of each."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from shared.masks import Box, Mask, box_of
from training.scenes.backgrounds import BACKGROUNDS, paint
from training.scenes.effects import photograph
from training.scenes.held_out import HELD_OUT_COLOURS
from training.scenes.scene import MAX_OBJECTS, POSITIONS, Scene, SceneObject, Split
from training.scenes.sprites import SpriteLibrary, default_library

SIDE = 256
MIN_OBJECTS = 2
CROWD = 18
MIN_VISIBLE = 0.65
LARGE, SMALL = 0.36, 0.23
"""Longest side of a thing's box as a share of the picture's: "large" beyond the one, "small" below the other."""
LEAST_COVER = 0.03
"""Of a thing's pixels: what another must hide to be in front of it."""

_SCALES = (0.17, 0.52)
# With more things on it a picture has less room for each.
_CROWDING = 0.035
# Two things whose centres nearly share a column have no left and right that anyone could name.
_MIN_CENTRE_GAP = 0.035
_PLACEMENT_TRIES = 16
_ALIKE = (0.78, 0.16, 0.06)
_NATURAL_SHARE = 0.4
_SAME_COLOUR = 0.6
_CROWD_SCALE = 0.36
# 0 and 1 were the splits of an earlier world.
_SPLIT_KEYS: dict[Split, int] = {"train": 2, "test": 3, "compositional": 4}


class Purpose(IntEnum):
    """What is drawn at random about a scene, each by a generator of its own: one may change and not the others."""

    PICTURE = 0
    PROMPTS = 1
    DIALOGUE = 2
    CROWD = 9
    GCG = 10
    CAPTION = 11
    REFSEG = 12
    REGION = 13
    VQA = 14


def scene(
    seed: int, split: Split, library: SpriteLibrary | None = None, height: int = SIDE, width: int = SIDE
) -> Scene:
    """The scene numbered `seed` (≥ 0) of a split. The splits draw from separate streams and share no scene."""
    return make_scene(scene_generator(seed, split), split, library or default_library(), height, width)


def scene_generator(seed: int, split: Split, purpose: Purpose = Purpose.PICTURE) -> Generator:
    """The source of all that is random in one respect about a scene."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_SPLIT_KEYS[split], purpose)))


def crowd(seed: int, library: SpriteLibrary | None = None, height: int = SIDE, width: int = SIDE) -> Scene:
    """A training scene with CROWD things, smaller ones, wherever there is room: more to learn from a picture.

    Nothing is said of such a scene, since its things have no order that anyone could name.
    """
    rng = scene_generator(seed, "train", Purpose.CROWD)
    return _draw(rng, "train", library or default_library(), height, width, CROWD, _CROWD_SCALE, gap=0)


def make_scene(rng: Generator, split: Split, library: SpriteLibrary, height: int = SIDE, width: int = SIDE) -> Scene:
    """Draw a scene. Things lie wholly inside the picture; each keeps MIN_VISIBLE of its pixels uncovered."""
    count = int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
    high = _SCALES[1] - _CROWDING * (count - MIN_OBJECTS)
    return _draw(rng, split, library, height, width, count, high, _MIN_CENTRE_GAP)


def _draw(
    rng: Generator, split: Split, library: SpriteLibrary, height: int, width: int, count: int, high: float, gap: float
) -> Scene:
    """high: the largest scale; gap: between the centres' columns, as a share of the width."""
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    image = paint(background, rng, height, width)
    placed: list[_Placed] = []
    for category, colour in _choose(rng, split, library, count):
        scale = rng.uniform(_SCALES[0], high) * min(height, width)
        sprite = _vary(rng, library.sprites[category][colour], scale)
        corner = _find_place(rng, sprite, placed, height, width, gap)
        if corner is not None:
            _put(image, sprite, corner, category, colour, placed)
    return Scene(photograph(image, rng), _described(placed), background, _uncovered(placed))


def _choose(rng: Generator, split: Split, library: SpriteLibrary, count: int) -> list[tuple[str, str]]:
    """What is drawn, in the order of drawing: categories with a colour each.

    A held-out pair of the two is never among it, but in the compositional split, where one always is.
    """
    chosen: list[tuple[str, str]] = []
    if split == "compositional":
        held_out = list(HELD_OUT_COLOURS.items())
        chosen.append(held_out[int(rng.integers(len(held_out)))])
    taken = {category for category, _ in chosen}
    for index in rng.permutation(len(library.categories)):
        if len(chosen) >= count:
            break
        category = library.categories[index]
        if category in taken:
            continue
        alike = min(1 + int(rng.choice(len(_ALIKE), p=_ALIKE)), count - len(chosen))
        first = _colour(rng, library, category)
        chosen.append((category, first))
        for _ in range(alike - 1):
            chosen.append((category, first if rng.random() < _SAME_COLOUR else _colour(rng, library, category)))
    return [chosen[index] for index in rng.permutation(len(chosen))]


def _colour(rng: Generator, library: SpriteLibrary, category: str) -> str:
    natural = library.natural[category]
    if not natural:
        return ""
    allowed = [colour for colour in library.sprites[category] if colour != HELD_OUT_COLOURS.get(category)]
    if natural in allowed and rng.random() < _NATURAL_SHARE:
        return natural
    return allowed[int(rng.integers(len(allowed)))]


@dataclass
class _Placed:
    """A drawing on the picture. pixels: of its outline; seen: those that nothing hides; beneath: what it hides."""

    category: str
    colour: str
    visible: Mask
    window: tuple[slice, slice]
    pixels: int
    seen: int
    centre_x: float
    beneath: "list[_Placed]"


def _vary(rng: Generator, sprite: Image.Image, longest: float) -> NDArray[np.uint8]:
    """Scale, mirror, rotate and tint a drawing → (h, w, 4)."""
    scale = longest / max(sprite.size)
    size = (max(2, round(sprite.width * scale)), max(2, round(sprite.height * scale)))
    turned = sprite.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    if rng.random() < 0.5:
        turned = turned.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = turned.rotate(rng.uniform(-30, 30), Image.Resampling.BILINEAR, expand=True)
    pixels = np.asarray(turned.crop(turned.getchannel("A").getbbox())).copy()
    tint = rng.uniform(0.85, 1.1) * rng.uniform(0.95, 1.05, 3)
    pixels[..., :3] = np.minimum(pixels[..., :3] * tint.astype(np.float32), 255)
    return pixels


def _find_place(
    rng: Generator, sprite: NDArray[np.uint8], placed: list[_Placed], height: int, width: int, gap: float
) -> tuple[int, int] | None:
    """A (y, x) corner where the drawing hides too little to matter; None if a few tries find none."""
    rows, columns = sprite.shape[:2]
    opaque = sprite[..., 3] > 127
    for _ in range(_PLACEMENT_TRIES):
        y, x = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
        centre_x = x + columns / 2
        if any(abs(item.centre_x - centre_x) < gap * width for item in placed):
            continue
        window = np.s_[y : y + rows, x : x + columns]
        if all(_stays_visible(item, window, opaque) for item in placed):
            return y, x
    return None


def _stays_visible(item: _Placed, window: tuple[slice, slice], opaque: Mask) -> bool:
    if _apart(item.window, window):
        return True
    return item.seen - int(np.count_nonzero(item.visible[window] & opaque)) >= MIN_VISIBLE * item.pixels


def _apart(one: tuple[slice, slice], other: tuple[slice, slice]) -> bool:
    return any(a.stop <= b.start or b.stop <= a.start for a, b in zip(one, other, strict=True))


def _put(
    image: NDArray[np.uint8],
    sprite: NDArray[np.uint8],
    corner: tuple[int, int],
    category: str,
    colour: str,
    placed: list[_Placed],
) -> None:
    """Blend the drawing onto the image and take its opaque pixels from those beneath."""
    (y, x), (rows, columns) = corner, sprite.shape[:2]
    window = np.s_[y : y + rows, x : x + columns]
    alpha = sprite[..., 3:] / np.float32(255)
    under = image[window]
    image[window] = under + (sprite[..., :3] - under.astype(np.float32)) * alpha + np.float32(0.5)
    opaque = sprite[..., 3] > 127
    beneath = []
    for item in placed:
        if _apart(item.window, window):
            continue
        hidden = int(np.count_nonzero(item.visible[window] & opaque))
        if hidden >= LEAST_COVER * item.pixels:
            beneath.append(item)
        item.visible[window] &= ~opaque
        item.seen -= hidden
    mask = np.zeros(image.shape[:2], np.bool_)
    mask[window] = opaque
    pixels = int(np.count_nonzero(opaque))
    placed.append(_Placed(category, colour, mask, window, pixels, pixels, x + columns / 2, beneath))


def _described(placed: list[_Placed]) -> tuple[SceneObject, ...]:
    found = sorted(((_box(item.visible), item) for item in placed), key=lambda pair: pair[0][0] + pair[0][2])
    number = {id(item): index for index, (_, item) in enumerate(found)}
    return tuple(
        SceneObject(
            category=item.category,
            colour=item.colour,
            size=_size(box, item.visible.shape),
            position=_position(box, item.visible.shape),
            mask=item.visible,
            box=box,
            covers=tuple(sorted(number[id(other)] for other in item.beneath)),
        )
        for box, item in found
    )


def _box(mask: Mask) -> Box:
    box = box_of(mask)
    assert box is not None, "placing a thing keeps most of it visible"
    return box


def _size(box: Box, shape: tuple[int, ...]) -> str:
    longest = max(box[2] - box[0], box[3] - box[1]) / min(shape)
    return "large" if longest > LARGE else "small" if longest < SMALL else ""


def _position(box: Box, shape: tuple[int, ...]) -> str:
    height, width = shape
    vertical = min(2, int(3 * (box[1] + box[3]) / (2 * height)))
    horizontal = min(2, int(3 * (box[0] + box[2]) / (2 * width)))
    return POSITIONS[vertical][horizontal]


def _uncovered(placed: list[_Placed]) -> Mask:
    free: Mask = ~np.logical_or.reduce([item.visible for item in placed])
    return free
