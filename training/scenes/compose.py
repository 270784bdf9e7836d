"""Composing a scene: one background, one to four different objects, and the exact mask of each."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from shared.masks import Box, Mask, box_of
from training.scenes.backgrounds import BACKGROUNDS, paint
from training.scenes.sprites import SpriteLibrary, default_library

Split = Literal["train", "test"]

MAX_OBJECTS = 4
LARGE_AREA = 0.09
SMALL_AREA = 0.04
MIN_VISIBLE = 0.7
# Two objects whose centres nearly share a column have no left and right that anyone could name.
_MIN_CENTRE_GAP = 0.04
_PLACEMENT_TRIES = 12
_SPLIT_KEYS: dict[Split, int] = {"train": 0, "test": 1}

POSITIONS = (
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the middle", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One drawing in a scene.

    mask: (H, W), the pixels where it is seen. box: xyxy in pixels, tight around the mask, x2 and y2 exclusive.
    size_word: "large", "small" or "". position_word: "on the left", "at the top right" and the like.
    """

    category: str
    mask: Mask
    box: Box
    size_word: str
    position_word: str


@dataclass(frozen=True, eq=False)
class Scene:
    """image: (H, W, 3) RGB. objects: left to right. background_mask: (H, W), what no object covers."""

    image: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    background: str
    background_mask: Mask


def scene(seed: int, split: Split, library: SpriteLibrary | None = None, height: int = 256, width: int = 256) -> Scene:
    """The scene numbered `seed` (≥ 0) of a split. The splits draw from separate streams and share no scene."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_SPLIT_KEYS[split],))
    return make_scene(np.random.default_rng(sequence), library or default_library(), height, width)


def make_scene(rng: Generator, library: SpriteLibrary, height: int = 256, width: int = 256) -> Scene:
    """Draw a scene. Objects lie wholly inside the image; each keeps MIN_VISIBLE of its pixels uncovered."""
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    image = paint(background, rng, height, width)
    count = int(rng.integers(1, MAX_OBJECTS + 1))
    chosen = rng.choice(len(library.categories), size=count, replace=False)
    placed: list[_Placed] = []
    for index in chosen:
        category = library.categories[index]
        sprite = _vary(rng, library.sprites[category], min(height, width))
        corner = _find_place(rng, sprite, placed, height, width)
        if corner is not None:
            _put(image, sprite, corner, category, placed)
    placed.sort(key=lambda item: item.centre_x)
    objects = tuple(_describe(item.category, item.visible) for item in placed)
    covered = np.logical_or.reduce([item.visible for item in placed])
    return Scene(image, objects, background, ~covered)


@dataclass
class _Placed:
    category: str
    visible: Mask
    pixels: int
    centre_x: float


def _vary(rng: Generator, sprite: Image.Image, side: int) -> NDArray[np.uint8]:
    """Scale, mirror, rotate and tint a drawing → (h, w, 4)."""
    scale = rng.uniform(0.25, 0.55) * side / max(sprite.size)
    size = (max(2, round(sprite.width * scale)), max(2, round(sprite.height * scale)))
    turned = sprite.resize(size, Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        turned = turned.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = turned.rotate(rng.uniform(-25, 25), Image.Resampling.BILINEAR, expand=True)
    pixels = np.asarray(turned.crop(turned.getchannel("A").getbbox())).copy()
    tint = rng.uniform(0.82, 1.12) * rng.uniform(0.93, 1.07, 3)
    pixels[..., :3] = np.minimum(pixels[..., :3] * tint.astype(np.float32), 255)
    return pixels


def _find_place(
    rng: Generator, sprite: NDArray[np.uint8], placed: list[_Placed], height: int, width: int
) -> tuple[int, int] | None:
    """A (y, x) corner where the drawing hides too little to matter; None if a few tries find none."""
    rows, columns = sprite.shape[:2]
    opaque = sprite[..., 3] > 127
    for _ in range(_PLACEMENT_TRIES):
        y, x = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
        centre_x = x + columns / 2
        if any(abs(item.centre_x - centre_x) < _MIN_CENTRE_GAP * width for item in placed):
            continue
        window = np.s_[y : y + rows, x : x + columns]
        if all(_stays_visible(item, window, opaque) for item in placed):
            return y, x
    return None


def _stays_visible(item: _Placed, window: tuple[slice, slice], opaque: Mask) -> bool:
    hidden = int(np.count_nonzero(item.visible[window] & opaque))
    return int(np.count_nonzero(item.visible)) - hidden >= MIN_VISIBLE * item.pixels


def _put(
    image: NDArray[np.uint8],
    sprite: NDArray[np.uint8],
    corner: tuple[int, int],
    category: str,
    placed: list[_Placed],
) -> None:
    """Blend the drawing onto the image and take its opaque pixels from those beneath."""
    (y, x), (rows, columns) = corner, sprite.shape[:2]
    window = np.s_[y : y + rows, x : x + columns]
    alpha = sprite[..., 3:] / np.float32(255)
    under = image[window]
    image[window] = under + (sprite[..., :3] - under.astype(np.float32)) * alpha + np.float32(0.5)
    opaque = sprite[..., 3] > 127
    for item in placed:
        item.visible[window] &= ~opaque
    mask = np.zeros(image.shape[:2], np.bool_)
    mask[window] = opaque
    placed.append(_Placed(category, mask, int(np.count_nonzero(opaque)), x + columns / 2))


def _describe(category: str, mask: Mask) -> SceneObject:
    height, width = mask.shape
    box = box_of(mask)
    assert box is not None, "placing an object keeps most of it visible"
    share = np.count_nonzero(mask) / mask.size
    size_word = "large" if share > LARGE_AREA else "small" if share < SMALL_AREA else ""
    vertical = min(2, int(3 * (box[1] + box[3]) / (2 * height)))
    horizontal = min(2, int(3 * (box[0] + box[2]) / (2 * width)))
    return SceneObject(category, mask, box, size_word, POSITIONS[vertical][horizontal])
