"""Backgrounds: named textures drawn from noise, plain walls, and windows of photographs, in a millisecond or two."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import skimage
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from training.scenes.colours import PAINTS

Field = NDArray[np.float32]


def paint(name: str, rng: Generator, height: int, width: int) -> NDArray[np.uint8]:
    """A (height, width, 3) picture of the kind of background called `name`; KeyError for an unknown name."""
    picture = _PAINTERS[name](rng, height, width)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _smooth(rng: Generator, height: int, width: int, rows: int, columns: int) -> Field:
    """(height, width) noise in about 0..1 that varies over `rows` × `columns` cells."""
    cells = Image.fromarray(rng.random((max(2, rows), max(2, columns)), dtype=np.float32))
    return np.asarray(cells.resize((width, height), Image.Resampling.BICUBIC))


def _grain(rng: Generator, height: int, width: int) -> Field:
    """(height, width) independent noise in -0.5..0.5."""
    levels = np.frombuffer(rng.bytes(height * width), np.uint8).reshape(height, width)
    return levels * np.float32(1 / 255) - np.float32(0.5)


def _colour(rng: Generator, red: float, green: float, blue: float) -> Field:
    """The colour, each channel up to 12 % brighter or darker."""
    return np.array([red, green, blue], np.float32) * rng.uniform(0.88, 1.12, 3).astype(np.float32)


def _ramp(height: int, top: Field, bottom: Field) -> Field:
    """(height, 1, 3) blend from the top colour to the bottom one."""
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return top + (bottom - top) * t


def _grass(rng: Generator, height: int, width: int) -> Field:
    blades = _smooth(rng, height, width, height // 10, width // 2) - 0.5
    shade = blades * 90 + _grain(rng, height, width) * 20
    return _ramp(height, _colour(rng, 110, 175, 70), _colour(rng, 60, 130, 40)) + shade[..., None]


def _sand(rng: Generator, height: int, width: int) -> Field:
    dunes = _smooth(rng, height, width, 12, 4) - 0.5
    shade = dunes * 30 + _grain(rng, height, width) * 45
    return _colour(rng, 218, 186, 128) + shade[..., None]


def _blue_sky(rng: Generator, height: int, width: int) -> Field:
    sky = _ramp(height, _colour(rng, 80, 150, 225), _colour(rng, 160, 205, 240))
    clouds: Field = np.clip(_smooth(rng, height, width, 6, 4) * 2.5 - 1.5, 0, 1)[..., None]
    return sky + (248 - sky) * clouds


def _night_sky(rng: Generator, height: int, width: int) -> Field:
    haze = _smooth(rng, height, width, 3, 3)[..., None] * np.array([25, 15, 40], np.float32)
    sky = _ramp(height, _colour(rng, 8, 10, 30), _colour(rng, 22, 24, 62)) + haze
    stars = int(rng.integers(60, 140))
    y, x = rng.integers(0, height - 1, stars), rng.integers(0, width - 1, stars)
    glow = rng.uniform(120, 255, (stars, 1)).astype(np.float32)
    sky[y, x] = glow
    sky[y + 1, x] = glow * 0.8
    sky[y, x + 1] = glow * 0.8
    return sky


def _brick_wall(rng: Generator, height: int, width: int) -> Field:
    course = max(6, round(min(height, width) / rng.uniform(8, 13)))
    length, joint = round(course * 2.2), max(1, course // 9)
    row = np.arange(height) // course
    x = np.arange(width)[None, :] + (row % 2 * (length // 2))[:, None]
    column = x // length
    shades = rng.uniform(0.75, 1.15, (height // course + 1, width // length + 2)).astype(np.float32)
    shade = shades[row[:, None], column] + _grain(rng, height, width) * 0.15
    mortar = (np.arange(height) % course < joint)[:, None] | (x % length < joint)
    return np.where(mortar[..., None], _colour(rng, 200, 190, 178), _colour(rng, 165, 72, 52) * shade[..., None])


def _wooden_floor(rng: Generator, height: int, width: int) -> Field:
    plank = max(8, round(min(height, width) / rng.uniform(4, 7)))
    row = np.arange(height) // plank
    shades = rng.uniform(0.8, 1.1, height // plank + 1).astype(np.float32)
    fibres = (_smooth(rng, height, width, height // 3, 5) - 0.5) * 0.35
    seam = np.where(np.arange(height) % plank < max(1, plank // 16), np.float32(0.45), np.float32(1))
    shade: Field = (shades[row][:, None] + fibres) * seam[:, None]
    return _colour(rng, 172, 120, 68) * shade[..., None]


def _water(rng: Generator, height: int, width: int) -> Field:
    y = np.linspace(0, rng.uniform(50, 90), height, dtype=np.float32)[:, None]
    ripples: Field = np.sin(y + _smooth(rng, height, width, 5, 7) * 9)
    crests: Field = ripples * ripples
    shade = ripples * 22 + crests * crests * 25
    return _ramp(height, _colour(rng, 20, 120, 150), _colour(rng, 10, 75, 125)) + shade[..., None]


def _snow(rng: Generator, height: int, width: int) -> Field:
    drifts = _smooth(rng, height, width, 5, 3)[..., None] * np.array([42, 30, 12], np.float32)
    tint = np.array([246, 249, 253], np.float32) * np.float32(rng.uniform(0.95, 1.0))
    return tint - drifts + (_grain(rng, height, width) * 12)[..., None]


def _gravel(rng: Generator, height: int, width: int) -> Field:
    stones = _smooth(rng, height, width, height // 7, width // 7) - 0.5
    shade = stones * 110 + _grain(rng, height, width) * 40
    return _colour(rng, 150, 146, 140) + shade[..., None]


def _wall(paint: str, rng: Generator, height: int, width: int) -> Field:
    """Plain paint, paler than a thing of its colour, that darkens to one side."""
    code = PAINTS[paint][0]
    full = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
    pale = full + (255 - full) * np.float32(rng.uniform(0.3, 0.5))
    wall = _ramp(height, pale * np.float32(rng.uniform(0.9, 1.05)), pale * np.float32(rng.uniform(0.7, 0.95)))
    return np.broadcast_to(wall, (height, width, 3))


@cache
def _photographs() -> tuple[Image.Image, ...]:
    """The free photographs that scikit-image ships inside its package."""
    folder = Path(skimage.__file__).parent / "data"
    return tuple(Image.open(folder / name).convert("RGB") for name in _PHOTOGRAPHS)


def _photograph(rng: Generator, height: int, width: int) -> Field:
    """A window of a photograph, mirrored or not."""
    photo = _photographs()[int(rng.integers(len(_PHOTOGRAPHS)))]
    side = rng.uniform(0.5, 1.0) * min(photo.width / width, photo.height / height)
    across, down = side * width, side * height
    x, y = rng.uniform(0, photo.width - across), rng.uniform(0, photo.height - down)
    window = photo.resize((width, height), Image.Resampling.BILINEAR, (x, y, x + across, y + down), reducing_gap=2.0)
    pixels = np.asarray(window, np.float32)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


_PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "rocket.jpg")
_WALLS = ("red", "yellow", "green", "blue", "purple", "gray")
_PAINTERS: dict[str, Callable[[Generator, int, int], Field]] = {
    "a grassy field": _grass,
    "a sandy beach": _sand,
    "a blue sky": _blue_sky,
    "a night sky": _night_sky,
    "a brick wall": _brick_wall,
    "a wooden floor": _wooden_floor,
    "water": _water,
    "snow": _snow,
    "gravel": _gravel,
    "a photograph": _photograph,
    **{f"a {name} wall": partial(_wall, name) for name in _WALLS},
}

BACKGROUNDS: tuple[str, ...] = tuple(_PAINTERS)
