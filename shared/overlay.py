"""A picture of an annotation: each phrase's mask in the phrase's colour, numbered, above a legend with the caption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from shared import legend, masks, palette
from shared.masks import Box, Mask, Rle

Point = tuple[float, float]

# An overlay is for eyes: below, contours and numbers would be coarser than the image; above, only memory grows.
_SHORTEST_LONG_SIDE = 768
_LONGEST_LONG_SIDE = 4096
_NARROWEST_CANVAS = 560
_FILL_OPACITY = 0.42
_CASING_OPACITY = 0.85
_PLACEMENT_GRID = 96


@dataclass(frozen=True)
class OverlayPhrase:
    """A phrase to show. mask: (height, width) of the image; box: xyxy in its pixels, drawn when there is no mask;
    span: where the phrase stands in the caption, looked up by its text when None.

    Masks that are given as Rle are decoded one at a time: of a large image, many decoded ones would fill the memory.
    """

    text: str | None
    mask: Mask | Rle | None
    box: Box | None = None
    span: tuple[int, int] | None = None

    @property
    def mask_shape(self) -> tuple[int, ...] | None:
        if isinstance(self.mask, Rle):
            return self.mask.height, self.mask.width
        return None if self.mask is None else self.mask.shape


@dataclass(frozen=True)
class _Shape:
    """A phrase's region at the scale of the output, as run lengths of the whole picture."""

    n: int
    region: Rle
    bounds: tuple[int, int, int, int]
    area: int
    filled: bool

    def inside(self) -> Image.Image:
        """An 8-bit mask, 0 or 255, of the whole picture."""
        return _as_image(masks.decode(self.region))


class _Footing:
    """What of a shape can be seen, on a grid over its bounds, as the shapes that cover it are drawn."""

    def __init__(self, shape: _Shape, inside: Image.Image) -> None:
        left, top, right, bottom = self._bounds = shape.bounds
        self.step = max(right - left, bottom - top) / _PLACEMENT_GRID
        self._grid = (max(1, round((right - left) / self.step)), max(1, round((bottom - top) / self.step)))
        self._region = self._coarse(inside)
        self._left = self._region.copy()

    def cover(self, inside: Image.Image) -> None:
        self._left &= ~self._coarse(inside)

    @property
    def visible(self) -> Mask:
        """The visible cells; all of the region when it is hidden altogether."""
        return self._left if self._left.any() else self._region

    def _coarse(self, inside: Image.Image) -> Mask:
        window = inside.crop(self._bounds)
        return np.asarray(window.resize(self._grid, Image.Resampling.BOX) if self.step > 1 else window) >= 128


def render(image: Image.Image, phrases: Sequence[OverlayPhrase], caption: str, note: str = "") -> Image.Image:
    """The image with every phrase's mask filled and outlined, and a legend below it, `note` at its end; RGB.

    Images with a long side under 768 px are enlarged and those over 4096 px reduced, so the result is readable whatever
    comes in. Phrase n has the colour `palette.color(n)` and the number n + 1.
    Raises ValueError for a mask that has not the image's size.
    """
    for phrase in phrases:
        if phrase.mask is not None and phrase.mask_shape != (image.height, image.width):
            raise ValueError(f"mask of shape {phrase.mask_shape} on an image of {image.width} × {image.height} px")
    long_side = max(image.size)
    scale = min(max(long_side, _SHORTEST_LONG_SIDE), _LONGEST_LONG_SIDE) / long_side
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    picture = image.convert("RGB").resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    unit = max(1.0, sqrt(size[0] * size[1]) / 900)

    shapes = [s for n, p in enumerate(phrases) if (s := _shape(n, p, size, scale)) is not None]
    footings = _paint_all(picture, shapes, unit)
    _number(picture, shapes, footings, unit)

    width = max(picture.width, _NARROWEST_CANVAS)
    strip = legend.render(caption, [(p.text, p.span) for p in phrases], width, unit, note)
    canvas = Image.new("RGB", (width, picture.height + (strip.height if strip else 0)), "white")
    canvas.paste(picture, ((width - picture.width) // 2, 0))
    if strip:
        canvas.paste(strip, (0, picture.height))
    return canvas


def _shape(n: int, phrase: OverlayPhrase, size: tuple[int, int], scale: float) -> _Shape | None:
    """None when the phrase has no pixel: it stands in the legend alone."""
    if phrase.mask is not None:
        mask = masks.decode(phrase.mask) if isinstance(phrase.mask, Rle) else phrase.mask
        inside = _resized(mask, size, scale)
    elif phrase.box is not None:
        inside = Image.new("L", size, 0)
        left, top, right, bottom = (round(c * scale) for c in phrase.box)
        inside.paste(255, (left, top, max(right, left + 1), max(bottom, top + 1)))
    else:
        return None
    bounds = inside.getbbox()
    if bounds is None:
        return None
    area = inside.crop(bounds).histogram()[255]
    return _Shape(n, masks.encode(np.asarray(inside) > 0), bounds, area, filled=phrase.mask is not None)


def _resized(mask: Mask, size: tuple[int, int], scale: float) -> Image.Image:
    """The mask as 0 or 255 at another size: stairs of enlarged pixels smoothed, no region lost however small."""
    inside = _as_image(mask)
    if inside.size == size:
        return inside
    soft = inside.resize(size, Image.Resampling.BICUBIC)
    if scale > 1:
        soft = soft.filter(ImageFilter.GaussianBlur(0.5 * scale))
    # A little under one half, for a lone pixel smoothed this far has a peak of 0.47.
    hard = soft.point([255 * (v >= 112) for v in range(256)])
    if hard.getbbox() is None:
        return inside.resize(size, Image.Resampling.BOX).point([255 * (v > 0) for v in range(256)])
    return hard


def _as_image(mask: Mask) -> Image.Image:
    return Image.fromarray(mask * np.uint8(255))


def _paint_all(picture: Image.Image, shapes: Sequence[_Shape], unit: float) -> dict[int, _Footing]:
    """Large shapes first, each decoded once; what is left to see of each then, by its number."""
    footings: dict[int, _Footing] = {}
    for shape in sorted(shapes, key=lambda s: -s.area):
        inside = shape.inside()
        _paint(picture, shape, inside, unit)
        for larger in shapes:
            if larger.area > shape.area:
                footings[larger.n].cover(inside)
        footings[shape.n] = _Footing(shape, inside)
    return footings


def _paint(picture: Image.Image, shape: _Shape, inside: Image.Image, unit: float) -> None:
    """Translucent fill, and a contour with a white casing that keeps it visible on a ground of its own colour.

    A straight edge blurred by a Gaussian of width s has the value Φ(d / s) at the distance d from it, so a table over
    the 256 values of the blurred mask turns it into any antialiased line along the edge.
    """
    half_line = 1.3 * unit
    casing = half_line + 0.9 * unit
    sigma = 1.2 * unit
    margin = ceil(casing + 3 * sigma)
    left, top, right, bottom = shape.bounds
    window = (
        max(0, left - margin),
        max(0, top - margin),
        min(picture.width, right + margin),
        min(picture.height, bottom + margin),
    )
    blurred = inside.crop(window).filter(ImageFilter.GaussianBlur(sigma))
    normal = NormalDist()
    distances = [sigma * normal.inv_cdf((v + 0.5) / 256) for v in range(256)]
    distances[0], distances[255] = -float("inf"), float("inf")

    def layer(opacity: float, coverage: Sequence[float]) -> Image.Image:
        return blurred.point([round(255 * opacity * min(max(c, 0.0), 1.0)) for c in coverage])

    color = palette.color(shape.n)
    if shape.filled:
        picture.paste(color, window, layer(_FILL_OPACITY, [d + 0.5 for d in distances]))
    picture.paste((255, 255, 255), window, layer(_CASING_OPACITY, [casing + 0.5 - abs(d) for d in distances]))
    picture.paste(color, window, layer(1.0, [half_line + 0.5 - abs(d) for d in distances]))


def _number(picture: Image.Image, shapes: Sequence[_Shape], footings: Mapping[int, _Footing], unit: float) -> None:
    placed: list[Point] = []
    for shape in sorted(shapes, key=lambda s: s.area):
        badge = legend.badge(shape.n, unit)
        x, y = _place(shape.bounds, footings[shape.n], badge.width / 2, placed, picture.size)
        placed.append((x, y))
        picture.paste(badge, (round(x - badge.width / 2), round(y - badge.height / 2)), badge)


def _place(
    bounds: tuple[int, int, int, int],
    footing: _Footing,
    radius: float,
    placed: Sequence[Point],
    size: tuple[int, int],
) -> Point:
    """Where the badge hides least: deep inside the visible part of the region, or beside a region too small for it."""
    left, top, right, bottom = bounds
    depth = _depth(footing.visible) * max(footing.step, 1.0)
    rows, columns = depth.shape
    xs = left + (np.arange(columns) + 0.5) * (right - left) / columns
    ys = top + (np.arange(rows) + 0.5) * (bottom - top) / rows
    for x, y in placed:
        near = np.hypot(xs[None, :] - x, ys[:, None] - y) < 2.2 * radius
        depth = np.where(near, 0.0, depth)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    inside = (float(xs[column]), float(ys[row]))
    if depth[row, column] >= 1.3 * radius:
        return _clamp(inside, radius, size)
    middle, centre = (left + right) / 2, (top + bottom) / 2
    away = 1.25 * radius
    beside = [(middle, top - away), (right + away, centre), (middle, bottom + away), (left - away, centre)]
    for point in (_clamp(p, radius, size) for p in beside):
        if all((point[0] - x) ** 2 + (point[1] - y) ** 2 > (2.1 * radius) ** 2 for x, y in placed):
            return point
    return _clamp(inside, radius, size)


def _depth(mask: Mask) -> NDArray[np.float64]:
    """Distance to the outside in cells: (h, w) → (h, w). Peeled layer by layer, by squares and crosses in turn, which
    comes within 8 % of Euclid's distance."""
    inside = np.pad(mask, 1)
    depth = np.zeros(inside.shape)
    layer = 0
    while inside.any():
        depth += inside
        across = inside[1:-1, :-2] & inside[1:-1, 1:-1] & inside[1:-1, 2:]
        peeled = across & inside[:-2, 1:-1] & inside[2:, 1:-1]
        if layer % 2:
            peeled &= inside[:-2, :-2] & inside[:-2, 2:] & inside[2:, :-2] & inside[2:, 2:]
        inside = np.pad(peeled, 1)
        layer += 1
    return depth[1:-1, 1:-1]


def _clamp(point: Point, radius: float, size: tuple[int, int]) -> Point:
    x, y = (min(max(c, radius), max(radius, side - radius)) for c, side in zip(point, size, strict=True))
    return x, y
