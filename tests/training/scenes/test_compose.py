"""Composed scenes: what is drawn, what is masked and what is known of each thing agree, always."""

import numpy as np
import pytest

from shared.masks import Mask
from training.scenes import compose
from training.scenes.backgrounds import BACKGROUNDS
from training.scenes.colours import COLOURS
from training.scenes.held_out import HELD_OUT_COLOURS, HELD_OUT_RELATIONS
from training.scenes.scene import MAX_OBJECTS, POSITIONS, SIZES, Scene, Split
from training.scenes.sprites import SpriteLibrary

SPLITS: tuple[Split, ...] = ("train", "test", "compositional")


@pytest.fixture(scope="module")
def small(library: SpriteLibrary) -> dict[Split, list[Scene]]:
    """Many scenes of each split, at a size that draws quickly."""
    return {split: [compose.scene(seed, split, library, 96, 96) for seed in range(250)] for split in SPLITS}


def test_a_seed_always_gives_the_same_scene(library: SpriteLibrary) -> None:
    one, other = (compose.scene(5, "train", library) for _ in range(2))
    assert np.array_equal(one.image, other.image)
    for mine, yours in zip(one.objects, other.objects, strict=True):
        assert np.array_equal(mine.mask, yours.mask)
        assert (mine.category, mine.colour, mine.covers) == (yours.category, yours.colour, yours.covers)


def test_the_splits_share_no_picture(small: dict[Split, list[Scene]]) -> None:
    pictures = [scene.image.tobytes() for scenes in small.values() for scene in scenes]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize(("height", "width"), [(256, 256), (240, 320), (200, 97)])
def test_a_scene_has_the_size_asked_for(library: SpriteLibrary, height: int, width: int) -> None:
    scene = compose.scene(1, "test", library, height, width)
    assert scene.image.shape == (height, width, 3)
    assert scene.image.dtype == np.uint8
    assert all(thing.mask.shape == (height, width) for thing in scene.objects)


def test_every_pixel_belongs_to_one_thing_or_to_the_background(scenes: list[Scene]) -> None:
    for scene in scenes:
        owners = np.sum([scene.background_mask, *(thing.mask for thing in scene.objects)], axis=0)
        assert (owners == 1).all()


def test_boxes_are_tight_around_what_is_seen(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.objects:
            x1, y1, x2, y2 = (int(side) for side in thing.box)
            inside = thing.mask[y1:y2, x1:x2]
            assert inside.sum() == thing.mask.sum()
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_a_mask_covers_what_the_drawing_changed(library: SpriteLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the same background without things; what the camera does to both is left out."""
    monkeypatch.setattr(compose, "photograph", lambda image, rng: image)
    for seed in range(20):
        scene = compose.scene(seed, "test", library)
        empty = compose.paint(scene.background, _after_the_choices(seed), 256, 256)
        changed = np.abs(scene.image.astype(int) - empty).max(-1) > 1
        assert not (changed & ~_grown(~scene.background_mask, 2)).any()
        assert (changed & ~scene.background_mask).sum() > 0.9 * (~scene.background_mask).sum()


def _after_the_choices(seed: int) -> np.random.Generator:
    """The generator as it is when a scene's background is painted."""
    rng = compose.scene_generator(seed, "test")
    rng.integers(compose.MIN_OBJECTS, MAX_OBJECTS + 1)
    rng.integers(len(BACKGROUNDS))
    return rng


def test_things_stay_mostly_visible_and_apart_enough_to_be_told_from_left_to_right(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert compose.MIN_OBJECTS <= len(scene.objects) <= MAX_OBJECTS
        centres = [thing.box[0] + thing.box[2] for thing in scene.objects]
        assert centres == sorted(centres)
        for thing in scene.objects:
            assert thing.mask.sum() > 100


def test_words_of_size_and_position_are_true(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.objects:
            x1, y1, x2, y2 = thing.box
            longest = max(x2 - x1, y2 - y1) / 256
            assert (thing.size == "large") == (longest > compose.LARGE)
            assert (thing.size == "small") == (longest < compose.SMALL)
            x, y = (x1 + x2) / 2 / 256, (y1 + y2) / 2 / 256
            assert ("left" in thing.position) == (x < 1 / 3)
            assert ("right" in thing.position) == (x >= 2 / 3)
            assert ("top" in thing.position) == (y < 1 / 3)
            assert ("bottom" in thing.position) == (y >= 2 / 3)


def test_what_covers_another_lies_against_it(library: SpriteLibrary) -> None:
    """In scenes of two things, where no third can lie over the seam."""
    pairs = [made for seed in range(400) if len((made := compose.scene(seed, "train", library, 96, 96)).objects) == 2]
    covering = [made for made in pairs if any(thing.covers for thing in made.objects)]
    assert len(covering) > 3
    for made in pairs:
        one, other = made.objects
        touching = bool((_grown(one.mask, 1) & other.mask).any())
        assert one.covers in ((), (1,))
        assert other.covers in ((), (0,))
        assert not (one.covers and other.covers)
        assert touching or not (one.covers or other.covers)


def _grown(mask: Mask, by: int) -> Mask:
    height, width = mask.shape
    padded, steps = np.pad(mask, by), range(2 * by + 1)
    grown: Mask = np.any([padded[y : y + height, x : x + width] for y in steps for x in steps], axis=0)
    return grown


def test_all_counts_categories_colours_and_words_occur(library: SpriteLibrary, small: dict[Split, list[Scene]]) -> None:
    scenes = small["train"]
    things = [thing for scene in scenes for thing in scene.objects]
    assert {len(scene.objects) for scene in scenes} >= set(range(compose.MIN_OBJECTS, MAX_OBJECTS + 1))
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)
    assert {thing.category for thing in things} == set(library.categories)
    assert {thing.colour for thing in things} == {*COLOURS, ""}
    assert {thing.position for thing in things} == {words for row in POSITIONS for words in row}
    assert {thing.size for thing in things} == {*SIZES, ""}
    alike = [scene for scene in scenes if len({thing.category for thing in scene.objects}) < len(scene.objects)]
    assert 0.2 < len(alike) / len(scenes) < 0.8


def test_held_out_pairs_are_met_in_the_compositional_split_alone(
    library: SpriteLibrary, small: dict[Split, list[Scene]]
) -> None:
    assert set(HELD_OUT_COLOURS) | set(HELD_OUT_RELATIONS) <= set(library.categories)
    assert all(colour in library.sprites[name] for name, colour in HELD_OUT_COLOURS.items())
    held_out = set(HELD_OUT_COLOURS.items())
    met = {
        split: [any((o.category, o.colour) in held_out for o in scene.objects) for scene in scenes]
        for split, scenes in small.items()
    }
    assert not any(met["train"])
    assert not any(met["test"])
    # One is always chosen; a crowded picture may have had no room for it.
    assert np.mean(met["compositional"]) > 0.95


def test_a_crowd_shows_many_more_things(library: SpriteLibrary) -> None:
    assert np.mean([len(compose.crowd(seed, library).objects) for seed in range(5)]) > 1.5 * MAX_OBJECTS
