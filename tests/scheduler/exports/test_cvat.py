"""CVAT's XML read back by its description: masks from their runs, words from their attributes."""

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from hypothesis import assume, given

from services.scheduler.exports import ExportedJob, cvat
from shared import masks
from shared.masks import Mask
from tests.scheduler.exports.conftest import MASKS
from tests.scheduler.exports.files import document, pixels, unpacked


def painted(mask: Element, height: int, width: int) -> Mask:
    """Runs alternate row by row inside the box, the first of them outside."""
    left, top, across, down = (int(mask.attrib[name]) for name in ("left", "top", "width", "height"))
    values, inside = [], False
    for run in mask.attrib["rle"].split(", "):
        values += [inside] * int(run)
        inside = not inside
    whole = np.zeros((height, width), dtype=np.bool_)
    whole[top : top + down, left : left + across] = np.array(values).reshape(down, across)
    return whole


def attributes(element: Element) -> dict[str, str | None]:
    return {one.attrib["name"]: one.text for one in element}


@pytest.fixture
def root(jobs: list[ExportedJob]) -> Element:
    return ElementTree.fromstring(unpacked(cvat.write, jobs).read("annotations.xml"))


@given(MASKS)
def test_every_mask_comes_back(mask: Mask) -> None:
    assume(mask.any())
    element = ElementTree.fromstring(f"<mask {cvat.mask_attributes(masks.encode(mask))}/>")
    np.testing.assert_array_equal(painted(element, *mask.shape), mask)


def test_the_runs_of_a_small_mask() -> None:
    mask = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]], dtype=np.bool_)
    said = cvat.mask_attributes(masks.encode(mask))
    assert said == 'rle="0, 3, 1" left="1" top="1" width="2" height="2"'


def test_images_have_their_masks_in_order(root: Element, jobs: list[ExportedJob]) -> None:
    found = [
        painted(mask, int(image.attrib["height"]), int(image.attrib["width"]))
        for image in root.iter("image")
        for mask in image.iter("mask")
    ]
    for mask, expected in zip(found, pixels(jobs), strict=True):
        np.testing.assert_array_equal(mask, expected)
    assert [image.attrib["name"] for image in root.iter("image")] == ["a1" * 32 + ".jpg", "b2" * 32 + ".png"]
    assert root.findtext("meta/task/size") == "2"
    assert root.findtext("version") == "1.1"


def test_words_are_attributes(root: Element, jobs: list[ExportedJob]) -> None:
    words = [attributes(mask)["text"] for mask in root.iter("mask")]
    assert words == ["A dog", "a dog", None, "the  Ball", "grass"]
    said = [(tag.attrib["label"], attributes(tag)) for tag in root.iter("tag")]
    assert said == [
        ("caption", {"text": jobs[0].result.text}),
        ("caption", {"text": "Two dogs."}),
        ("answer", {"question": "How many?", "text": "Two."}),
        ("caption", {"text": "Mostly grass"}),
    ]
    boxes = list(root.iter("box"))
    # The bell that the model rang is no character of XML.
    assert [attributes(box)["text"] for box in boxes] == ["A ball in the corner.", "All of it."]
    assert [boxes[0].attrib[name] for name in ("xtl", "ytl", "xbr", "ybr")] == ["1.00", "2.00", "11.00", "12.00"]


def test_every_label_and_attribute_is_declared(root: Element, jobs: list[ExportedJob]) -> None:
    constructor = document(unpacked(cvat.write, jobs), "labels.json")
    declared = {one["name"]: {attribute["name"] for attribute in one["attributes"]} for one in constructor}
    in_file = {
        label.findtext("name"): {attribute.findtext("name") for attribute in label.iter("attribute")}
        for label in root.iter("label")
    }
    assert in_file == declared
    for element in (element for image in root.iter("image") for element in image):
        assert set(attributes(element)) == declared[element.attrib["label"]]
