"""Predictions of a whole set through a real service: complete, resumed, and readable by `glamm evaluate`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.masks import Rle, decode

SIZES = {"one.two": (80, 60), "three": (64, 64)}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, (name, (width, height)) in enumerate(SIZES.items()):
        noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def written(out: Path) -> list[dict]:
    found = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    return [entry for item in found for entry in (item if isinstance(item, list) else [item])]


def test_each_image_has_its_file_and_what_is_there_is_not_asked_again(on_service, images, tmp_path):
    out = tmp_path / "out"
    run = on_service("predict", "--task", "gcg", "--images", images, "--out", out)
    assert (run.code, run.err) == (0, "")
    assert "2 predicted, 0 there already, 0 failed" in run.out
    for entry in written(out):
        width, height = SIZES[entry["image_id"]]
        assert len(entry["phrases"]) == len(entry["pred_masks"]) > 0
        for mask in entry["pred_masks"]:
            assert decode(Rle(*mask["size"], mask["counts"])).shape == (height, width)
    (out / "three.json").unlink()
    before = (out / "one.two.json").stat().st_mtime_ns
    again = on_service("predict", "--task", "gcg", "--images", images, "--out", out)
    assert "1 predicted, 1 there already, 0 failed" in again.out
    assert (out / "one.two.json").stat().st_mtime_ns == before
    assert {path.name for path in out.iterdir()} == {"one.two.json", "three.json"}


def test_captions_need_no_more_than_images(on_service, images, tmp_path):
    run = on_service("predict", "--task", "caption", "--images", images, "--out", tmp_path / "out")
    assert run.code == 0, run.err
    assert {entry["image_id"] for entry in written(tmp_path / "out")} == set(SIZES)


def test_expressions_and_regions_are_those_of_the_ground_truth(on_service, images, tmp_path):
    expressions = [{"image_id": "three", "expression": f"thing {n}", "segmentation": []} for n in range(65)] + [
        {"image_id": 7, "file_name": "one.two.png", "sentence": "the rest", "segmentation": []}
    ]
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps(expressions))
    out = tmp_path / "refseg"
    run = on_service("predict", "--task", "refseg", "--images", images, "--ground-truth", truth, "--out", out)
    assert run.code == 0, run.err
    assert {path.name for path in out.iterdir()} == {"three.json", "three-2.json", "7.json"}
    said = {(str(entry["image_id"]), entry["expression"]) for entry in written(out)}
    assert said == {("three", f"thing {n}") for n in range(65)} | {("7", "the rest")}

    coco = {
        "images": [{"id": 1, "file_name": "three.png", "width": 64, "height": 64}],
        "annotations": [
            {"id": n, "image_id": 1, "region_id": n, "bbox": [n, 2, 20, 30], "caption": "A thing."} for n in range(2)
        ],
    }
    truth.write_text(json.dumps(coco))
    out = tmp_path / "regions"
    run = on_service("predict", "--task", "region-caption", "--images", images, "--ground-truth", truth, "--out", out)
    assert run.code == 0, run.err
    assert [(entry["image_id"], entry["region_id"]) for entry in written(out)] == [("1", 0), ("1", 1)]
    assert all(isinstance(entry["caption"], str) for entry in written(out))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--task", "poetry", "--images", "."], "--task"),
        (["--task", "gcg", "--images", "nowhere"], "--images"),
        (["--task", "gcg", "--images", "EMPTY"], "--images"),
        (["--task", "refseg", "--images", "EMPTY"], "--ground-truth"),
        (["--task", "refseg", "--images", "EMPTY", "--ground-truth", "nowhere.json"], "nowhere.json"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(on_service, tmp_path, arguments, told):
    given = [str(tmp_path) if word == "EMPTY" else word for word in arguments]
    run = on_service("predict", *given, "--out", tmp_path / "out")
    assert run.code == 2
    (line,) = run.err.splitlines()
    assert told in line
    assert not (tmp_path / "out").exists()


def test_a_truth_that_does_not_fit_the_images_is_named(on_service, images, tmp_path):
    for entry, told in (
        ({"image_id": "gone", "expression": "a dog"}, "gone"),
        ({"image_id": "three"}, "expression"),
    ):
        truth = tmp_path / "truth.json"
        truth.write_text(json.dumps([entry]))
        run = on_service(
            "predict", "--task", "refseg", "--images", images, "--ground-truth", truth, "--out", tmp_path / "o"
        )
        assert run.code == 2
        assert told in run.err


def test_an_image_that_fails_is_told_and_asked_again_the_next_time(on_service, images, tmp_path):
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    out = tmp_path / "out"
    for before in (0, 2):
        run = on_service("predict", "--task", "caption", "--images", images, "--out", out)
        assert run.code == 2
        assert "broken.png" in run.err
        assert f"{2 - before} predicted, {before} there already, 1 failed" in run.out
