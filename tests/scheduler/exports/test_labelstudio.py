"""Label Studio's brush: its run lengths read back, and the same bytes as its own encoder makes."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given

from services.scheduler.exports import ExportedJob, labelstudio
from shared import masks
from shared.masks import Mask, Rle
from tests.scheduler.exports.conftest import MASKS
from tests.scheduler.exports.files import document, pixels, unpacked

RECORDED = json.loads((Path(__file__).parent / "brush_recorded.json").read_text())
"""Masks as COCO's run lengths, and the bytes that `mask2rle` of label-studio-sdk 2.1.2 makes of them (255 inside)."""


class Bits:
    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def read(self, count: int) -> int:
        self._at += count
        return int(self._bits[self._at - count : self._at], 2)


def unbrush(data: bytes, height: int, width: int) -> Mask:
    """As the form is described in `rle-pack`, from which Label Studio has it."""
    bits = Bits(data)
    count, word = bits.read(32), bits.read(5) + 1
    sizes = [bits.read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        is_run = bits.read(1)
        length = bits.read(sizes[bits.read(2)]) + 1
        values += [bits.read(word)] * length if is_run else [bits.read(word) for _ in range(length)]
    rgba = np.array(values).reshape(height, width, 4)
    assert set(np.unique(rgba)) <= {0, 255}
    assert (rgba == rgba[:, :, :1]).all()
    return rgba[:, :, 3] == 255


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda one: f"{one['height']}x{one['width']}")
def test_the_bytes_are_those_of_label_studios_encoder(recorded: dict[str, Any]) -> None:
    rle = Rle(recorded["height"], recorded["width"], recorded["counts"])
    theirs = bytes.fromhex(recorded["rle"])
    np.testing.assert_array_equal(unbrush(theirs, rle.height, rle.width), masks.decode(rle))
    assert labelstudio.brush(rle) == theirs


@given(MASKS)
def test_every_mask_comes_back(mask: Mask) -> None:
    np.testing.assert_array_equal(unbrush(labelstudio.brush(masks.encode(mask)), *mask.shape), mask)


def test_tasks_have_predictions_with_masks_and_their_words(jobs: list[ExportedJob]) -> None:
    first, second = document(unpacked(labelstudio.write, jobs), "tasks.json")
    assert first["data"] == {"image": "/data/local-files/?d=" + "a1" * 32 + ".jpg", "sha256": "a1" * 32}
    assert [len(task["predictions"]) for task in (first, second)] == [3, 3]
    results = [one for task in (first, second) for said in task["predictions"] for one in said["result"]]
    found = [
        unbrush(bytes(one["value"]["rle"]), one["original_height"], one["original_width"])
        for one in results
        if one["type"] == "brushlabels"
    ]
    for mask, expected in zip(found, pixels(jobs), strict=True):
        np.testing.assert_array_equal(mask, expected)
    words = {one["id"]: one["value"]["text"] for one in results if one["from_name"] == "words"}
    named = [words.get(one["id"]) for one in results if one["type"] == "brushlabels"]
    assert named == [["A dog"], ["a dog"], None, ["the  Ball"], ["grass"]]


def test_regions_are_boxes_in_hundredths(jobs: list[ExportedJob]) -> None:
    _, task = document(unpacked(labelstudio.write, jobs), "tasks.json")
    boxes = [one["value"] for one in task["predictions"][1]["result"] if one["type"] == "rectanglelabels"]
    assert [box["rectanglelabels"] for box in boxes] == [["region"], ["region"]]
    place = [boxes[0][name] for name in ("x", "y", "width", "height")]
    assert place == pytest.approx([100 / 31, 10, 1000 / 31, 50])


def test_what_is_said_of_a_whole_image_is_one_text(jobs: list[ExportedJob]) -> None:
    tasks = document(unpacked(labelstudio.write, jobs), "tasks.json")
    said = [
        one["value"]["text"]
        for task in tasks
        for prediction in task["predictions"]
        for one in prediction["result"]
        if one["from_name"] == "text"
    ]
    assert said == [[jobs[0].result.text], ["Two dogs."], ["How many?\nTwo."], ["Mostly grass"]]


def test_the_labelling_configuration_has_every_name_that_results_use(jobs: list[ExportedJob]) -> None:
    archive = unpacked(labelstudio.write, jobs)
    view = ElementTree.fromstring(archive.read("labeling.xml"))
    declared = {tag.get("name"): {label.get("value") for label in tag} for tag in view}
    for task in document(archive, "tasks.json"):
        for one in (one for prediction in task["predictions"] for one in prediction["result"]):
            assert one["to_name"] in declared
            assert set(one["value"].get(one["type"], ())) <= declared[one["from_name"]] or one["type"] == "textarea"


def test_a_batch_of_nothing_has_no_tasks() -> None:
    assert document(unpacked(labelstudio.write, []), "tasks.json") == []
