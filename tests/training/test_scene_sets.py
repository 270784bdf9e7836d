"""A split's scenes as a folder: pictures, GranD-f annotations and each task's ground truth agree with the scenes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shared import masks
from training.data import grandf
from training.language.captions import gcg
from training.language.world import usage
from training.metrics import expressions
from training.metrics import gcg as grounded
from training.scene_sets import SceneSet, write
from training.scenes.compose import Purpose, scene, scene_generator

FIRST, COUNT, SIDE = 3, 4, 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "new" / "folder"
    written = list(write(SceneSet("test", FIRST, COUNT), folder, side=SIDE))
    assert written == sorted((folder / "images").iterdir())
    return folder


def entries(folder: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text())
    return found


def test_the_pictures_are_the_splits_scenes(folder: Path) -> None:
    for number in range(FIRST, FIRST + COUNT):
        with Image.open(folder / "images" / f"test_{number:07d}.png") as image:
            assert np.array_equal(np.asarray(image), scene(number, "test", None, SIDE, SIDE).image)


def test_the_annotations_are_grandf(folder: Path) -> None:
    """Read by the reader of GranD-f's own files: each phrase with the mask that the scene has for it."""
    captions = grandf.read(folder / "annotations.json", folder / "images")
    assert len(captions) == COUNT
    for caption in captions:
        with Image.open(caption.image) as image:
            assert image.size == (SIDE, SIDE)
        made = scene(int(caption.image.stem.removeprefix("test_")), "test", None, SIDE, SIDE)
        owned = {thing.mask.tobytes() for thing in made.objects} | {made.background_mask.tobytes()}
        singles = [phrase.mask.decode(SIDE, SIDE) for phrase in caption.phrases]
        assert np.sum(singles, axis=0).max() == 1
        assert any(mask.tobytes() in owned for mask in singles)


def test_evaluation_reads_the_ground_truth(folder: Path, tmp_path: Path) -> None:
    truths = grounded.read_truth(folder / "gcg", "test")
    assert len(truths) == COUNT
    (tmp_path / "none.json").write_text("[]")
    pairs, missing = expressions.read_pairs(tmp_path / "none.json", folder / "refseg.json")
    assert len(pairs) == missing == len(entries(folder, "refseg"))


def test_the_entries_name_what_the_scene_shows(folder: Path) -> None:
    scenes = {f"test_{number:07d}": scene(number, "test", None, SIDE, SIDE) for number in range(FIRST, FIRST + COUNT)}
    for entry in entries(folder, "region_caption"):
        x, y, width, height = entry["bbox"]
        (thing,) = (o for o in scenes[entry["image_id"]].objects if o.box == (x, y, x + width, y + height))
        assert entry["category"] == thing.category
        assert thing.category in entry["caption"]
    for entry in entries(folder, "refseg"):
        assert (entry["segmentation"] is None) == (entry["kind"] == "absent")
        if entry["kind"] == "background":
            found = masks.decode(masks.Rle(SIDE, SIDE, entry["segmentation"]["counts"]))
            assert np.array_equal(found, scenes[entry["image_id"]].background_mask)
    for entry in entries(folder, "vqa"):
        assert entry["answer"].endswith(".")
        assert "[SEG]" not in entry["answer"]
        assert {"question", "bbox", "type", "question_id"} <= set(entry)
    assert len(entries(folder, "caption")) == COUNT


def test_a_set_is_the_same_whenever_and_however_much_of_it_is_written(folder: Path, tmp_path: Path) -> None:
    list(write(SceneSet("test", FIRST + 1, 1), tmp_path, side=SIDE))
    for name in ("annotations", "refseg", "region_caption", "vqa", "caption"):
        mine = entries(tmp_path, name)
        assert mine
        assert all(entry in entries(folder, name) for entry in mine)


def test_captions_are_what_is_said_of_the_scene(folder: Path) -> None:
    for number, record in enumerate(entries(folder, "annotations"), FIRST):
        said = gcg(scene(number, "test", None, SIDE, SIDE), usage("test"), scene_generator(number, "test", Purpose.GCG))
        assert record["caption"] == said.text
        spans = {text: tuple(found["token_positives"]) for text, found in record["groundings"].items()}
        assert spans == {phrase.text: (phrase.start, phrase.end) for phrase in said.phrases}
