"""Colours that things may have, and repainting a drawing in another of them.

OpenMoji draws with a small palette: a light and a dark shade of each colour. A drawing most of whose paint is of one
colour has that colour; its twin in another one has the two shades exchanged, and everything else as it is.
"""

import re

import numpy as np
from numpy.typing import NDArray

Shades = tuple[str, str]

# A light and a dark shade each, further apart from one another than OpenMoji's own: a tinted light must not turn orange
# into yellow or brown.
PAINTS: dict[str, Shades] = {
    "red": ("#e23b2e", "#b3201c"),
    "orange": ("#f78c1e", "#d2691a"),
    "yellow": ("#fce62b", "#eac31c"),
    "green": ("#6fc03b", "#3f8a2b"),
    "blue": ("#4b9fea", "#2a5fb4"),
    "purple": ("#a06ad2", "#7640a6"),
    "pink": ("#ff9fc4", "#e6709c"),
    "brown": ("#8c5a2e", "#633d1f"),
    "gray": ("#b4b4b2", "#828281"),
}
COLOURS: tuple[str, ...] = tuple(PAINTS)
DOMINANT_SHARE = 0.55
"""Of a drawing's paint, outlines left out: what one colour must fill to be the drawing's."""

# OpenMoji's palette, https://openmoji.org/styleguide.
_PALETTE: dict[str, str] = {
    "#92d3f5": "blue",
    "#61b2e4": "blue",
    "#1e50a0": "blue",
    "#ea5a47": "red",
    "#d22f27": "red",
    "#781e32": "red",
    "#b1cc33": "green",
    "#5c9e31": "green",
    "#186648": "green",
    "#fcea2b": "yellow",
    "#f1b31c": "yellow",
    "#f4aa41": "orange",
    "#e27022": "orange",
    "#a57939": "brown",
    "#6a462f": "brown",
    "#ffa7c0": "pink",
    "#e67a94": "pink",
    "#b399c8": "purple",
    "#8967aa": "purple",
    "#d0cfce": "gray",
    "#9b9b9a": "gray",
    "#3f3f3f": "black",
    "#ffffff": "white",
    "#000000": "",
}
_LIGHT = {"#92d3f5", "#61b2e4", "#ea5a47", "#b1cc33", "#fcea2b", "#f4aa41", "#a57939", "#ffa7c0", "#b399c8", "#d0cfce"}
_HEX = re.compile(r"#[0-9a-fA-F]{6}\b")


def dominant(pixels: NDArray[np.uint8]) -> str:
    """The colour of COLOURS that fills DOMINANT_SHARE of an (h, w, 4) drawing's paint; "" where none does."""
    opaque = pixels[pixels[..., 3] > 127][:, :3].astype(np.int32)
    palette = np.array([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in _PALETTE])
    nearest = ((opaque[:, None] - palette[None]) ** 2).sum(-1).argmin(1)
    names = np.array(list(_PALETTE.values()))[nearest]
    paint = names[names != ""]
    for colour in COLOURS:
        if len(paint) and np.count_nonzero(paint == colour) >= DOMINANT_SHARE * len(paint):
            return colour
    return ""


def repaint(svg: str, before: str, after: str) -> str:
    """The drawing with one colour's shades exchanged for another's. With the same colour twice: its clearer shades."""
    light, dark = PAINTS[after]

    def shade(found: re.Match[str]) -> str:
        code = found.group().lower()
        if _PALETTE.get(code) != before:
            return code
        return light if code in _LIGHT else dark

    return _HEX.sub(shade, svg)
