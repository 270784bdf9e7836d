import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from shared import legend, masks, palette
from shared.overlay import OverlayPhrase, render

GROUND = (90, 120, 150)


def scene(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), GROUND)


def rectangle(width: int, height: int, box: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = True
    return mask


def pixel(image: Image.Image, x: int, y: int) -> np.ndarray:
    return np.asarray(image)[y, x].astype(int)


def contrast_on_white(rgb: tuple[int, int, int]) -> float:
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05)


def test_the_first_dozen_colours_are_far_apart_and_their_ink_is_legible():
    colors = np.array([palette.color(n) for n in range(12)])
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 1e3 * np.eye(12)
    assert distances.min() > 35
    assert all(contrast_on_white(palette.ink(n)) >= 4.5 for n in range(200))


def test_a_mask_is_filled_in_its_phrases_colour_and_the_rest_of_the_image_is_untouched():
    mask = rectangle(1000, 800, (100, 100, 600, 500))
    overlay = render(scene(1000, 800), [OverlayPhrase("a wall", mask)], "There is a wall.")

    filled = pixel(overlay, 150, 150)
    towards = np.array(palette.color(0)) - GROUND
    share = (filled - GROUND) @ towards / (towards @ towards)
    assert 0.3 < share < 0.55, "the fill is translucent: part ground, part colour"
    np.testing.assert_array_equal(pixel(overlay, 800, 700), GROUND)
    np.testing.assert_array_equal(pixel(overlay, 80, 300), GROUND)


def test_the_contour_runs_along_the_masks_edge_at_full_strength():
    mask = rectangle(1000, 800, (100, 100, 600, 500))
    overlay = render(scene(1000, 800), [OverlayPhrase("a wall", mask)], "There is a wall.")
    np.testing.assert_allclose(pixel(overlay, 100, 300), palette.color(0), atol=12)
    np.testing.assert_allclose(pixel(overlay, 350, 100), palette.color(0), atol=12)


def test_a_smaller_mask_stays_visible_on_a_larger_one_whatever_their_order():
    large = rectangle(900, 900, (50, 50, 850, 850))
    small = rectangle(900, 900, (100, 100, 300, 300))
    overlay = render(scene(900, 900), [OverlayPhrase("small", small), OverlayPhrase("large", large)], "")
    np.testing.assert_allclose(pixel(overlay, 100, 200), palette.color(0), atol=12)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 64), (768, 768)), ((64, 32), (768, 384)), ((1024, 768), (1024, 768)), ((8192, 6144), (4096, 3072))],
)
def test_every_image_size_gives_a_readable_picture(size, expected):
    width, height = size
    mask = rectangle(width, height, (width // 8, height // 8, width // 2, height // 2))
    overlay = render(scene(width, height), [OverlayPhrase("a thing", mask)], "a thing in a field")
    assert overlay.mode == "RGB"
    assert overlay.width == expected[0]
    strip = overlay.height - expected[1]
    assert 50 <= strip <= expected[1] / 3, "the legend is legible and does not outweigh the picture"


def test_a_narrow_image_gets_a_canvas_wide_enough_for_the_legend():
    overlay = render(scene(40, 900), [OverlayPhrase("a rope", rectangle(40, 900, (10, 10, 20, 800)))], "a rope")
    assert overlay.width >= 500
    np.testing.assert_array_equal(pixel(overlay, 5, 400), (255, 255, 255))


@pytest.mark.parametrize("side", [64, 700, 1500])
def test_a_single_pixel_is_still_shown(side):
    mask = rectangle(side, side, (side // 2, side // 2, side // 2 + 1, side // 2 + 1))
    without = np.asarray(render(scene(side, side), [OverlayPhrase("a dot", np.zeros_like(mask))], "a dot")).astype(int)
    with_dot = np.asarray(render(scene(side, side), [OverlayPhrase("a dot", mask)], "a dot")).astype(int)
    middle = slice(with_dot.shape[1] // 2 - 6, with_dot.shape[1] // 2 + 7)
    assert np.abs(with_dot - without)[middle, middle].max() > 60


def test_phrases_without_a_mask_show_their_box_or_only_their_words():
    phrases = [OverlayPhrase("the left one", None, box=(100, 100, 400, 300)), OverlayPhrase("nowhere", None)]
    overlay = render(scene(1000, 800), phrases, "the left one, nowhere")
    np.testing.assert_allclose(pixel(overlay, 100, 200), palette.color(0), atol=12)
    np.testing.assert_array_equal(pixel(overlay, 380, 280), GROUND)


def test_nothing_to_say_adds_no_strip():
    assert render(scene(800, 800), [], "").size == (800, 800)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match="mask of shape"):
        render(scene(800, 800), [OverlayPhrase("x", np.zeros((4, 4), bool))], "x")


def test_a_mask_of_another_size_is_refused_before_it_is_decoded():
    with pytest.raises(ValueError, match=r"mask of shape \(4, 5\)"):
        render(scene(800, 800), [OverlayPhrase("x", masks.Rle(4, 5, "no counts"))], "x")


def test_run_lengths_are_drawn_as_the_mask_they_stand_for():
    shapes = [rectangle(1000, 800, (n, 9 * n, 500 + n, 300 + 50 * n)) for n in range(5)]
    plain = render(scene(1000, 800), [OverlayPhrase("a", mask) for mask in shapes], "a")
    coded = render(scene(1000, 800), [OverlayPhrase("a", masks.encode(mask)) for mask in shapes], "a")
    np.testing.assert_array_equal(np.asarray(plain), np.asarray(coded))


def test_many_masks_take_no_more_memory_than_few():
    size = (1600, 1200)
    coded = masks.encode(rectangle(*size, (100, 100, 1500, 1100)))

    def peak(count: int) -> int:
        tracemalloc.start()
        render(scene(*size), [OverlayPhrase(None, coded)] * count, "")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few = peak(2)
    assert peak(16) < few + size[0] * size[1]


def test_the_legend_shows_each_phrase_in_its_ink():
    strip = legend.render("A red ball beside a blue box.", [("A red ball", None), ("a blue box", None)], 900, 1.0)
    assert strip is not None
    colors = {rgb for _, rgb in strip.getcolors(1 << 20)}
    assert {palette.ink(0), palette.ink(1), palette.tint(0), palette.tint(1)} <= colors


def test_a_note_stands_in_the_legend_and_no_phrase_is_looked_up_in_it():
    note = legend.unfound([("the dog on the left", False), ("the cat", True), (None, False)])
    assert note == "Nothing found for “the dog on the left”."
    assert legend.render("", [], 900, 1.0, note) is not None
    found = [("the dog", None)]
    bare, noted = (legend.render("Sure.", found, 900, 1.0, text) for text in ("", note))
    assert bare is not None
    assert noted is not None
    assert bare.height == noted.height
    first = slice(0, 150)
    np.testing.assert_array_equal(np.asarray(bare)[:, first], np.asarray(noted)[:, first])
    assert not np.array_equal(np.asarray(bare), np.asarray(noted))


def test_a_long_caption_wraps_and_an_endless_word_is_cut():
    one = legend.render("short", [], 600, 1.0)
    many = legend.render("word " * 100, [], 600, 1.0)
    endless = legend.render("x" * 500, [("x" * 500, None)], 600, 1.0)
    assert one is not None
    assert many is not None
    assert endless is not None
    assert many.height > 4 * one.height - 60
    assert endless.height > 2 * one.height
    right_margin = np.asarray(endless)[:, -8:]
    assert (right_margin == 255).all(), "nothing runs over the edge"


def test_repeated_phrases_are_looked_up_in_reading_order():
    cut, outside = legend.pieces("a dog and a dog", [("a dog", None), ("a dog", None), ("a dog", None)])
    assert [(p.text, p.phrase) for p in cut] == [("a dog", 0), (" and ", None), ("a dog", 1)]
    assert outside == [2]


def test_characters_the_font_lacks_are_replaced_not_boxed():
    plain = legend.render("cafe - naive ?", [], 600, 1.0)
    fancy = legend.render("café – naïve 日", [], 600, 1.0)
    assert plain is not None
    assert fancy is not None
    np.testing.assert_array_equal(np.asarray(plain), np.asarray(fancy))


caption_texts = st.text(alphabet="ab ,.é日\n", max_size=60)
spans = st.none() | st.tuples(st.integers(-5, 70), st.integers(-5, 70))


@settings(deadline=None, max_examples=60)
@given(caption_texts, st.lists(st.tuples(st.none() | caption_texts, spans), max_size=5))
def test_any_caption_and_spans_are_cut_without_loss_and_drawn_without_error(caption, phrases):
    cut, outside = legend.pieces(caption, phrases)
    assert "".join(p.text for p in cut) == caption
    inside = {p.phrase for p in cut if p.phrase is not None}
    assert inside | set(outside) == set(range(len(phrases)))
    assert not inside & set(outside)
    strip = legend.render(caption, phrases, 560, 1.0)
    assert strip is None or strip.width == 560


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_any_masks_are_drawn_and_numbered_without_error(data):
    width, height = data.draw(st.integers(16, 200)), data.draw(st.integers(16, 200))
    phrases = []
    for n in range(data.draw(st.integers(0, 6))):
        canvas = Image.new("1", (width, height))
        x, y = data.draw(st.integers(-20, width)), data.draw(st.integers(-20, height))
        w, h = data.draw(st.integers(0, width)), data.draw(st.integers(0, height))
        ImageDraw.Draw(canvas).ellipse((x, y, x + w, y + h), fill=1)
        phrases.append(OverlayPhrase(f"thing {n}", np.array(canvas)))
    overlay = render(scene(width, height), phrases, "things")
    assert overlay.width >= 560
