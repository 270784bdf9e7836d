"""One colour a phrase, the same in masks, legends and terminals.

Colours are taken in OKLCH, a space whose lightness and hue agree with the eye: the golden angle keeps neighbouring
phrases far apart in hue however many there are, and alternating lightness tells apart those whose hues come close, also
for eyes that see few hues and on grey prints.
"""

from functools import lru_cache
from math import cos, radians, sin

Rgb = tuple[int, int, int]

_GOLDEN_ANGLE = 137.508
_FIRST_HUE = 32.0
_LIGHTNESS = (0.66, 0.56, 0.76)
_CHROMA = 0.2
_INK_LIGHTNESS = 0.46


@lru_cache(maxsize=256)
def color(n: int) -> Rgb:
    """The colour of phrase n (0, 1, …) as (red, green, blue) in 0..255, for fills, contours and dark backgrounds."""
    return _srgb(_LIGHTNESS[n % len(_LIGHTNESS)], _CHROMA, _hue(n))


@lru_cache(maxsize=256)
def ink(n: int) -> Rgb:
    """The hue of `color(n)`, dark enough to read as text on white (contrast of at least 4.5 to 1)."""
    return _srgb(_INK_LIGHTNESS, _CHROMA, _hue(n))


def tint(n: int, strength: float = 0.16) -> Rgb:
    """`color(n)` mixed into white: the background that goes with `ink(n)`. strength: 0 (white) to 1 (the colour)."""
    red, green, blue = (round(255 + (c - 255) * strength) for c in color(n))
    return red, green, blue


def hexadecimal(rgb: Rgb) -> str:
    """`#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _hue(n: int) -> float:
    return (_FIRST_HUE + n * _GOLDEN_ANGLE) % 360


def _srgb(lightness: float, chroma: float, hue: float) -> Rgb:
    """The sRGB colour nearest in chroma that screens can show at this lightness and hue."""
    while True:
        linear = _linear_srgb(lightness, chroma * cos(radians(hue)), chroma * sin(radians(hue)))
        if all(0 <= c <= 1 for c in linear) or chroma <= 0:
            red, green, blue = (round(255 * _gamma(min(max(c, 0.0), 1.0))) for c in linear)
            return red, green, blue
        chroma -= 0.004


def _linear_srgb(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    """OKLab to linear sRGB, by the matrices that define OKLab."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _gamma(c: float) -> float:
    return 12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055
