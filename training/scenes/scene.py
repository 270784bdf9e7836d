"""What a scene is: one background, two to eight things on it, and the exact mask of each."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.masks import Box, Mask

Split = Literal["train", "test", "compositional"]

MAX_OBJECTS = 8
SIZES = ("large", "small")
POSITIONS = (
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the middle", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One drawing in a scene.

    category: a singular noun. colour: one of `colours.COLOURS`, or "" where the drawing has no single one. size:
    "large", "small" or "". position: one of POSITIONS, where the box's centre lies. mask: (H, W), the pixels where it
    is seen. box: xyxy in pixels, tight around the mask, x2 and y2 exclusive. covers: of which objects, by their index
    in the scene, it hides a part.
    """

    category: str
    colour: str
    size: str
    position: str
    mask: Mask
    box: Box
    covers: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Scene:
    """image: (H, W, 3) RGB. objects: left to right by their boxes' centres. background: its name with its article.

    background_mask: (H, W), what no object covers.
    """

    image: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    background: str
    background_mask: Mask
