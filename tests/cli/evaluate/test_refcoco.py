"""`glamm evaluate refseg` on RefCOCO's own files, with figures worked out by hand."""

import json
import pickle
from pathlib import Path

import pytest

from tests.cli.evaluate.conftest import write
from tests.training.data.files import block, reference, rle, write_refcoco


@pytest.fixture
def folder(tmp_path) -> Path:
    """A set as it is downloaded, with the references by google that the paper leaves aside."""
    folder = tmp_path / "refcoco"
    folder.mkdir()
    write_refcoco(folder)
    other = [reference(9, 11, "a cat by google", split="train"), reference(8, 12, "another", split="val")]
    (folder / "refs(google).p").write_bytes(pickle.dumps(other, protocol=0))
    return folder


def test_a_split_of_refcoco_is_measured(glamm, folder, tmp_path):
    said = write(
        tmp_path / "said.json",
        [
            {"image_id": 1, "expression": "Left cat", "pred_masks": [rle(block(0, 0, 10, 40))]},
            {"image_id": "1", "expression": "the cat on the left", "pred_masks": []},
        ],
    )
    for truth in (folder, folder / "refs(unc).p"):
        arguments = ("--predictions", said, "--ground-truth", truth, "--split", "train", "--json")
        code, out, err = glamm("evaluate", "refseg", *arguments)
        assert code == 0, err
        told = json.loads(out)
        assert (told["expressions"], told["missing"]) == (3, 1)
        # The left cat: 400 of 800 pixels; not found by its other name; the right one of 900 without a prediction.
        assert told["metrics"] == pytest.approx(
            {
                "ciou": 400 / (800 + 800 + 900),
                "giou": 0.5 / 3,
                "precision_50": 1 / 3,
                "absent_refused": None,
                "present_refused": 2 / 3,
            }
        )


def test_the_objects_of_another_split_are_no_part_of_it(glamm, folder, tmp_path):
    entry = {"image_id": 2, "expression": "a small cat", "segmentation": rle(block(5, 5, 15, 15))}
    files = ("--predictions", write(tmp_path / "said.json", [entry]), "--ground-truth", folder)
    code, out, _ = glamm("evaluate", "refseg", *files, "--split", "testA", "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["expressions"], told["missing"], told["metrics"]["ciou"]) == (1, 0, 1.0)
    code, _, err = glamm("evaluate", "refseg", *files, "--split", "train")
    assert code == 2
    assert "Image 2 has no expression 'a small cat'" in err


def test_what_is_wrong_with_such_a_set_is_told(glamm, folder, tmp_path):
    said = write(tmp_path / "said.json", [])
    plain = write(tmp_path / "truth.json", [{"image_id": 1, "expression": "a cat", "segmentation": []}])
    bare, twice, endless = tmp_path / "bare", tmp_path / "twice", tmp_path / "endless"
    for other in (bare, twice, endless):
        other.mkdir()
    (bare / "refs(unc).p").write_bytes((folder / "refs(unc).p").read_bytes())
    write_refcoco(twice)
    (twice / "refs(umd).p").write_bytes((folder / "refs(unc).p").read_bytes())
    _, instances = write_refcoco(endless)
    without_sizes = json.loads(instances.read_text())
    for image in without_sizes["images"]:
        del image["height"]
    write(instances, without_sizes)
    code = tmp_path / "refs(code).p"
    code.write_bytes(pickle.dumps([Path("somewhere")]))
    write(tmp_path / "instances.json", {"images": [], "annotations": []})
    for truth, split, told in (
        (folder, (), "--split: "),
        (folder, ("--split", "testB"), "has these splits: testA, train."),
        (folder / "refs(google).p", ("--split", "testA"), "has these splits: train, val."),
        (bare, ("--split", "train"), "instances.json: No such file"),
        (twice, ("--split", "train"), "It holds refs(umd).p and refs(unc).p."),
        (endless, ("--split", "train"), "refs(unc).p[0]: segmentation is a list of polygons of an image whose height"),
        (code, ("--split", "train"), "references are plain data"),
        (plain, ("--split", "train"), "truth.json has no splits"),
    ):
        ended, _, err = glamm("evaluate", "refseg", "--predictions", said, "--ground-truth", truth, *split)
        assert ended == 2, truth
        (line,) = err.splitlines()
        assert told in line
