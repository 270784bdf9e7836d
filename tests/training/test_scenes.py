"""Composed scenes: what is drawn, what is masked and what is said agree, always."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared import masks
from training.scenes import compose, language
from training.scenes.backgrounds import BACKGROUNDS, paint
from training.scenes.compose import Scene
from training.scenes.samples import write_samples
from training.scenes.sprites import CATEGORIES, SPRITE_SIDE, SpriteLibrary

SEEDS = range(40)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> SpriteLibrary:
    return SpriteLibrary.load(tmp_path_factory.mktemp("sprites"))


@pytest.fixture(scope="module")
def scenes(library: SpriteLibrary) -> list[Scene]:
    return [compose.scene(seed, "test", library) for seed in SEEDS]


def without_markup(answer: str) -> str:
    return re.sub(r"<p> (.*?) </p> \[SEG\]", r"\1", answer)


def test_the_drawings_are_rasterised_once_and_read_back_equal(tmp_path: Path) -> None:
    first = SpriteLibrary.load(tmp_path)
    (stored,) = tmp_path.iterdir()
    written_at = stored.stat().st_mtime_ns
    again = SpriteLibrary.load(tmp_path)
    assert stored.stat().st_mtime_ns == written_at
    assert first.categories == again.categories == tuple(CATEGORIES)
    for name, sprite in first.sprites.items():
        assert sprite.tobytes() == again.sprites[name].tobytes()
        assert max(sprite.size) == SPRITE_SIDE


def test_a_seed_always_gives_the_same_scene(library: SpriteLibrary) -> None:
    one, other = (compose.scene(5, "train", library) for _ in range(2))
    assert np.array_equal(one.image, other.image)
    assert language.gcg(one).answer == language.gcg(other).answer
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(one.objects, other.objects, strict=True))


def test_no_test_scene_is_a_training_scene(library: SpriteLibrary, scenes: list[Scene]) -> None:
    training = {compose.scene(seed, "train", library).image.tobytes() for seed in SEEDS}
    testing = {scene.image.tobytes() for scene in scenes}
    assert len(training) == len(testing) == len(SEEDS)
    assert not training & testing


@pytest.mark.parametrize(("height", "width"), [(256, 256), (240, 320), (200, 97)])
def test_a_scene_has_the_size_asked_for(library: SpriteLibrary, height: int, width: int) -> None:
    scene = compose.scene(1, "test", library, height, width)
    assert scene.image.shape == (height, width, 3)
    assert scene.image.dtype == np.uint8
    assert all(thing.mask.shape == (height, width) for thing in scene.objects)


def test_every_pixel_belongs_to_one_object_or_to_the_background(scenes: list[Scene]) -> None:
    for scene in scenes:
        owners = np.sum([scene.background_mask, *(thing.mask for thing in scene.objects)], axis=0)
        assert (owners == 1).all()


def test_boxes_are_tight_around_what_is_seen(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.objects:
            x1, y1, x2, y2 = (int(side) for side in thing.box)
            inside = thing.mask[y1:y2, x1:x2]
            assert inside.sum() == thing.mask.sum()
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()


def test_a_mask_covers_what_the_drawing_changed(library: SpriteLibrary, scenes: list[Scene]) -> None:
    for seed, scene in zip(SEEDS, scenes, strict=True):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
        name = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
        empty = paint(name, rng, 256, 256)
        changed = np.abs(scene.image.astype(int) - empty).max(-1) > 1
        outside = scene.background_mask & changed
        soft_edge = np.zeros_like(outside)
        covered = np.pad(~scene.background_mask, 2)
        for dy in range(5):
            for dx in range(5):
                soft_edge |= covered[dy : dy + 256, dx : dx + 256]
        assert not (outside & ~soft_edge).any()
        assert (changed & ~scene.background_mask).sum() > 0.9 * (~scene.background_mask).sum()


def test_objects_differ_and_stay_mostly_visible(library: SpriteLibrary, scenes: list[Scene]) -> None:
    for scene in scenes:
        names = [thing.category for thing in scene.objects]
        assert 1 <= len(names) <= compose.MAX_OBJECTS
        assert len(set(names)) == len(names)
        assert set(names) <= set(library.categories)
        for thing in scene.objects:
            sprite = np.asarray(library.sprites[thing.category])[..., 3] > 127
            smallest = compose.MIN_VISIBLE * sprite.sum() * (0.25 * 256 / SPRITE_SIDE) ** 2
            assert thing.mask.sum() > 0.9 * smallest


def test_all_counts_categories_and_backgrounds_occur(library: SpriteLibrary) -> None:
    many = [compose.scene(seed, "train", library, 96, 96) for seed in range(300)]
    assert {len(scene.objects) for scene in many} == {1, 2, 3, 4}
    assert {scene.background for scene in many} == set(BACKGROUNDS)
    assert {thing.category for scene in many for thing in scene.objects} == set(CATEGORIES)
    things = [thing for scene in many for thing in scene.objects]
    assert {thing.position_word for thing in things} == set(language.POSITION_WORDS)
    assert {thing.size_word for thing in things} == {*language.SIZE_WORDS, ""}


def test_size_and_position_words_are_true(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.objects:
            share = thing.mask.mean()
            assert (thing.size_word == "large") == (share > compose.LARGE_AREA)
            assert (thing.size_word == "small") == (share < compose.SMALL_AREA)
            x, y = (thing.box[0] + thing.box[2]) / 2 / 256, (thing.box[1] + thing.box[3]) / 2 / 256
            assert ("left" in thing.position_word) == (x < 1 / 3)
            assert ("right" in thing.position_word) == (x >= 2 / 3)
            assert ("top" in thing.position_word) == (y < 1 / 3)
            assert ("bottom" in thing.position_word) == (y >= 2 / 3)


def test_the_answer_without_markup_is_the_caption(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert without_markup(language.gcg(scene).answer) == language.caption(scene)


def test_each_seg_has_the_mask_of_its_phrase(scenes: list[Scene]) -> None:
    for scene in scenes:
        answer, found = language.gcg(scene)
        phrases = re.findall(r"<p> (.*?) </p> \[SEG\]", answer)
        assert len(phrases) == len(found) == answer.count("[SEG]") == len(scene.objects) + 1
        for phrase, mask, thing in zip(phrases, found, scene.objects, strict=False):
            assert phrase.split()[1:] == [*thing.size_word.split(), thing.category]
            assert mask is thing.mask
        assert phrases[-1] == scene.background
        assert found[-1] is scene.background_mask


def test_phrase_spans_point_into_the_caption(scenes: list[Scene]) -> None:
    for scene in scenes:
        said = language.grounded_caption(scene)
        assert [said.text[phrase.start : phrase.end] for phrase in said.phrases] == [p.text for p in said.phrases]
        assert len({phrase.text for phrase in said.phrases}) == len(said.phrases)


def test_captions_are_sentences(scenes: list[Scene]) -> None:
    place = f"(?:{'|'.join(language.POSITION_WORDS)})"
    thing = rf"an? (?:(?:large|small) )?\w+ {place}"
    form = re.compile(rf"{thing}(?:(?:, {thing})* and {thing})?, in front of (?:{'|'.join(BACKGROUNDS)})\.")
    for scene in scenes:
        text = language.caption(scene)
        assert text[0] == "A"
        assert form.fullmatch(text[0].lower() + text[1:]), text
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text.lower()), text


def test_objects_are_named_from_left_to_right(scenes: list[Scene]) -> None:
    for scene in scenes:
        columns = [("left", "right").index(word) * 2 if word in ("left", "right") else 1 for word in _sides(scene)]
        assert columns == sorted(columns)


def _sides(scene: Scene) -> list[str]:
    return [thing.position_word.split()[-1] for thing in scene.objects]


def test_a_referring_expression_names_its_mask(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for scene in scenes * 5:
        expression, answer, mask = language.refseg(scene, rng)
        if mask is None:
            continue
        assert answer == "Sure, it is [SEG]."
        assert expression.startswith("the ")
        if mask is scene.background_mask:
            seen.add("background")
            assert expression.removeprefix("the ") == scene.background.removeprefix("a ")
            continue
        (thing,) = (thing for thing in scene.objects if thing.mask is mask)
        size = next((word for word in language.SIZE_WORDS if f" {word} " in expression), "")
        place = expression.partition(f" {thing.category}")[2].strip()
        assert size in ("", thing.size_word)
        assert place in ("", thing.position_word)
        assert expression == " ".join(f"the {size} {thing.category} {place}".split())
        seen.add((bool(size), bool(place)))
    assert seen == {"background", (False, False), (False, True), (True, False), (True, True)}


def test_a_region_caption_describes_its_box(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(0)
    for scene in scenes:
        box, answer = language.region_caption(scene, rng)
        (thing,) = (thing for thing in scene.objects if thing.box == box)
        words = answer.removesuffix(".").split()
        expected = f"{words[0]} {thing.size_word} {thing.category} {thing.position_word}"
        assert words == expected.split()
        assert words[0] in ("A", "An")


def test_the_vocabulary_holds_every_word_that_is_said(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(0)
    known = {word.lower() for word in language.vocabulary()}
    for scene in scenes:
        refseg = language.refseg(scene, rng)
        said = [language.caption(scene), refseg.expression, refseg.answer, language.region_caption(scene, rng).answer]
        said += [language.vqa(scene, rng).answer, language.ground(scene, rng).caption]
        words = {word.lower() for text in said for word in re.findall(r"\w+", re.sub(r"\[SEG\]|</?p>", "", text))}
        assert words <= known


def test_questions_have_true_answers(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for scene in scenes * 8:
        asked = language.vqa(scene, rng)
        names = {thing.category: thing for thing in scene.objects}
        seen.add(asked.question.split()[0])
        if found := re.fullmatch(r"Where is the (\w+)\?", asked.question):
            assert asked.answer.lower() == f"{names[found[1]].position_word}."
        elif found := re.fullmatch(r"Is there an? (\w+) in the picture\?", asked.question):
            assert asked.answer == ("Yes." if found[1] in names else "No.")
        elif found := re.fullmatch(r"Show me the (\w+)\.", asked.question):
            assert asked.masks[0] is names[found[1]].mask
            assert f"<p> The {found[1]} </p> [SEG]" in asked.answer
        elif asked.question.startswith("How many"):
            assert language.NUMBERS.index(asked.answer[:-1]) + 1 == len(scene.objects)
        elif asked.box is not None:
            (named,) = (thing for thing in scene.objects if thing.box == asked.box)
            assert named.category in asked.answer
        elif "background" in asked.question:
            assert asked.answer.lower() == f"{scene.background}."
        else:
            place = asked.question.removeprefix("What is ").removesuffix("?")
            there = [thing.category for thing in scene.objects if thing.position_word == place]
            assert [word for word in re.findall(r"\w+", asked.answer) if word in names] == there
    assert seen == {"What", "Where", "How", "Is", "Show"}


def test_an_expression_without_a_mask_names_nothing_in_the_scene(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(0)
    asked = [(scene, language.refseg(scene, rng)) for scene in scenes * 4]
    absent = [(scene, sample) for scene, sample in asked if sample.mask is None]
    assert 0 < len(absent) < len(asked) / 2
    for scene, sample in absent:
        assert sample.expression.removeprefix("the ") not in {thing.category for thing in scene.objects}
        assert "[SEG]" not in sample.answer


def test_a_given_caption_is_its_answer_without_marks(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(0)
    for scene in scenes:
        given = language.ground(scene, rng)
        phrases = re.findall(r"<p> (.*?) </p> \[SEG\]", given.answer)
        assert without_markup(given.answer) == given.caption
        assert len(phrases) == len(given.masks)
        for phrase, mask in zip(phrases, given.masks, strict=True):
            owners = [thing.category for thing in scene.objects if thing.mask is mask] or [scene.background]
            assert owners[0] in phrase


def test_samples_are_pictures_with_grandf_annotations(tmp_path: Path, library: SpriteLibrary) -> None:
    path = write_samples(tmp_path / "new" / "folder", [3, 8], "test", library, height=96, width=128)
    records = json.loads(path.read_text())
    assert [record["file_name"] for record in records] == ["test_000003.png", "test_000008.png"]
    for seed, record in zip([3, 8], records, strict=True):
        scene = compose.scene(seed, "test", library, 96, 128)
        with Image.open(path.parent / record["file_name"]) as image:
            assert np.array_equal(np.asarray(image), scene.image)
        assert record["caption"] == language.caption(scene)
        assert len(record["groundings"]) == len(scene.objects) + 1
        for (text, grounding), mask in zip(record["groundings"].items(), language.gcg(scene).masks, strict=True):
            start, end = grounding["token_positives"]
            assert record["caption"][start:end] == text
            (rle,) = grounding["rle_masks"]
            assert np.array_equal(masks.decode(masks.Rle(*rle["size"], rle["counts"])), mask)


def test_the_command_writes_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "out"
    arguments = ["--split", "train", "--count", "2", "--seed", "4", "--out", str(out), "--width", "80"]
    run = subprocess.run(
        [sys.executable, "-m", "training.scenes", *arguments], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"2 scenes and {out / 'annotations.json'}\n"
    names = {"annotations.json", "train_000004.png", "train_000005.png"}
    assert {path.name for path in out.iterdir()} == names


def test_making_scenes_loads_no_server_and_no_torch() -> None:
    code = (
        "import sys, training.scenes.__main__, training.scenes.language; print(*{m.split('.')[0] for m in sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"services", "workers", "torch"} & set(run.stdout.split())
