"""The drawings: named, coloured as they say, rasterised once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.scenes import colours
from training.scenes.categories import CATEGORIES
from training.scenes.sprites import SPRITE_SIDE, SpriteLibrary


def test_there_are_many_categories_and_no_name_is_part_of_another() -> None:
    assert len(CATEGORIES) >= 150
    assert len(set(CATEGORIES.values())) == len(CATEGORIES)
    words = {name: set(name.split()) for name in CATEGORIES}
    assert not [(a, b) for a in words for b in words if a != b and words[a] <= words[b]]


def test_the_drawings_are_rasterised_once_and_read_back_equal(library: SpriteLibrary, tmp_path: Path) -> None:
    first = SpriteLibrary.load(tmp_path)
    (stored,) = tmp_path.iterdir()
    written_at = stored.stat().st_mtime_ns
    again = SpriteLibrary.load(tmp_path)
    assert stored.stat().st_mtime_ns == written_at
    assert first.categories == again.categories == tuple(CATEGORIES)
    for name, twins in first.sprites.items():
        assert max(max(sprite.size) for sprite in twins.values()) == SPRITE_SIDE
        for colour, sprite in twins.items():
            assert sprite.tobytes() == again.sprites[name][colour].tobytes() == library.sprites[name][colour].tobytes()


def test_a_drawing_is_there_in_each_colour_or_has_none(library: SpriteLibrary) -> None:
    for name, twins in library.sprites.items():
        assert set(twins) in ({""}, set(colours.COLOURS)), name
        assert library.natural[name] in twins
        assert len({sprite.size for sprite in twins.values()}) == 1
    assert sum(colour != "" for colour in library.natural.values()) > 100


def test_a_twin_is_painted_in_its_colour(library: SpriteLibrary) -> None:
    """Most of its paint, outlines left out, is nearer to its own colour's shades than to any other's."""
    shades = {name: [_rgb(code) for code in pair] for name, pair in colours.PAINTS.items()}
    for name, twins in library.sprites.items():
        for colour in set(twins) - {""}:
            pixels = np.asarray(twins[colour])
            opaque = pixels[pixels[..., 3] > 250][:, :3].astype(int)
            paint = opaque[(opaque.max(1) > 60) & (opaque.min(1) < 240)]
            nearest = {
                other: np.min([((paint - shade) ** 2).sum(1) for shade in pair], axis=0)
                for other, pair in shades.items()
            }
            best = np.array(list(nearest))[np.argmin(list(nearest.values()), axis=0)]
            assert (best == colour).mean() > 0.45, (name, colour)


@pytest.mark.parametrize(
    ("fill", "colour"), [("#ea5a47", "red"), ("#92d3f5", "blue"), ("#ffffff", ""), ("#3f3f3f", "")]
)
def test_the_dominant_colour_is_that_of_most_paint(fill: str, colour: str) -> None:
    picture = Image.new("RGBA", (10, 10), "#000000")
    picture.paste(Image.new("RGBA", (6, 10), fill))
    assert colours.dominant(np.asarray(picture)) == colour


def test_repainting_exchanges_shades_and_keeps_the_rest() -> None:
    svg = '<a fill="#EA5A47"/><b fill="#d22f27"/><c fill="#5c9e31"/><d stroke="#000000"/>'
    light, dark = colours.PAINTS["blue"]
    assert (
        colours.repaint(svg, "red", "blue")
        == f'<a fill="{light}"/><b fill="{dark}"/><c fill="#5c9e31"/><d stroke="#000000"/>'
    )


def _rgb(code: str) -> tuple[int, ...]:
    return tuple(int(code[i : i + 2], 16) for i in (1, 3, 5))
