"""What a camera does to a scene once it is composed: light, blur and noise."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

_GRAIN_SIDE = 512


def _grain_bank() -> NDArray[np.int16]:
    return (np.random.default_rng(0).standard_normal((_GRAIN_SIDE, _GRAIN_SIDE, 3)) * 64).astype(np.int16)


_GRAIN = _grain_bank()


def photograph(image: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    """The (H, W, 3) picture under uneven light, sometimes out of focus, sometimes grainy. Nothing moves."""
    lit = _light(image, rng)
    if rng.random() < 0.3:
        soft = Image.fromarray(lit).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.2))))
        lit = np.asarray(soft)
    return _noise(lit, rng) if rng.random() < 0.4 else lit


def _light(image: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    """Brightness that varies smoothly over the picture, and a slight cast of colour."""
    height, width = image.shape[:2]
    corners = rng.uniform(0.78, 1.12, (2, 2)).astype(np.float32)
    shade = np.asarray(Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR))
    cast = rng.uniform(0.96, 1.04, 3).astype(np.float32)
    return np.clip(image * (shade[..., None] * cast), 0, 255).astype(np.uint8)


def _noise(image: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    """Grain of up to a twentieth of full scale: a window of one large pattern, fresh noise costs more than a scene."""
    height, width = image.shape[:2]
    y, x = (int(rng.integers(_GRAIN_SIDE)) for _ in range(2))
    rows, columns = np.arange(y, y + height) % _GRAIN_SIDE, np.arange(x, x + width) % _GRAIN_SIDE
    strength = int(rng.integers(3, 12))
    noisy: NDArray[np.uint8] = np.clip(image + (_GRAIN[rows[:, None], columns] * strength // 64), 0, 255).astype(
        np.uint8
    )
    return noisy
