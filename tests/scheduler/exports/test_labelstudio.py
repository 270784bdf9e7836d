"""Label Studio's brush, labelling and tasks, read by Label Studio's own converter."""

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from label_studio_sdk._extensions.label_studio_tools.core.label_config import parse_config
from label_studio_sdk.converter.brush import decode_rle, mask2rle

from services.scheduler.exports import ExportedJob, labelstudio
from shared import masks
from shared.masks import Mask
from tests.scheduler.exports.conftest import MASKS
from tests.scheduler.exports.files import block, document, pixels, unpacked


def unbrush(data: bytes, height: int, width: int) -> Mask:
    """The mask of a brush, all of whose four channels say the same."""
    rgba = decode_rle(list(data)).reshape(height, width, 4)
    assert set(np.unique(rgba)) <= {0, 255}
    assert (rgba == rgba[:, :, :1]).all()
    return rgba[:, :, 3] == 255


@given(MASKS)
def test_the_bytes_are_those_of_label_studios_encoder_and_every_mask_comes_back(mask: Mask) -> None:
    data = labelstudio.brush(masks.encode(mask))
    assert data == bytes(mask2rle(mask.astype(np.uint8) * 255))
    np.testing.assert_array_equal(unbrush(data, *mask.shape), mask)


@pytest.mark.parametrize("width", [1, 2, 4, 64, 1000, 16_384, 70_000])
def test_so_are_those_of_long_runs(width: int) -> None:
    mask = block(3, width + 2, (0, 0, width, 2))
    data = labelstudio.brush(masks.encode(mask))
    assert data == bytes(mask2rle(mask.astype(np.uint8) * 255))
    np.testing.assert_array_equal(unbrush(data, *mask.shape), mask)


def test_the_converter_reads_the_labelling_configuration(jobs: list[ExportedJob]) -> None:
    found = parse_config(unpacked(labelstudio.write, jobs).read("labeling.xml").decode())
    assert {name: (tag["type"], tag["labels"]) for name, tag in found.items()} == {
        "mask": ("BrushLabels", ["phrase"]),
        "box": ("RectangleLabels", ["region"]),
        "words": ("TextArea", []),
        "text": ("TextArea", []),
    }


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
