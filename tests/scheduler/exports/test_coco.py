"""COCO's own reader finds every mask, every category and every caption."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from services.scheduler.exports import ExportedJob, coco
from tests.scheduler.exports.files import document, pixels, unpacked
from training.metrics.entries import coco_entries


@pytest.fixture
def folder(tmp_path: Path, jobs: list[ExportedJob]) -> Path:
    unpacked(coco.write, jobs).extractall(tmp_path)
    return tmp_path / "annotations"


def test_pycocotools_reads_the_masks_as_they_were(folder: Path, jobs: list[ExportedJob]) -> None:
    instances = COCO(folder / "instances.json")
    annotations = instances.loadAnns(sorted(instances.getAnnIds()))
    expected = pixels(jobs)
    assert len(annotations) == len(expected) == 5
    for annotation, mask in zip(annotations, expected, strict=True):
        np.testing.assert_array_equal(instances.annToMask(annotation), mask)
        x, y, width, height = map(int, annotation["bbox"])
        assert annotation["area"] == mask.sum() == mask[y : y + height, x : x + width].sum()
        size = instances.loadImgs(annotation["image_id"])[0]
        assert mask.shape == (size["height"], size["width"])


def test_categories_are_the_phrases_without_case_and_article(folder: Path) -> None:
    instances = COCO(folder / "instances.json")
    of_each = [instances.cats[one["category_id"]]["name"] for one in instances.anns.values()]
    assert of_each == ["dog", "dog", "object", "ball", "grass"]
    assert [one["phrase"] for one in instances.anns.values()] == ["A dog", "a dog", None, "the  Ball", "grass"]
    assert instances.getCatIds() == [1, 2, 3, 4]


def test_captions_are_those_of_whole_images(folder: Path, jobs: list[ExportedJob]) -> None:
    captions = COCO(folder / "captions.json")
    (first, second) = captions.getImgIds()
    said = [[one["caption"] for one in captions.imgToAnns[image]] for image in (first, second)]
    assert said == [[jobs[0].result.text, "Two dogs."], ["Mostly grass"]]
    assert captions.loadImgs(first)[0]["file_name"] == "a1" * 32 + ".jpg"
    assert captions.anns[1]["custom_id"] == "photos/dögs, 1.jpg"


def test_regions_and_questions_have_the_forms_of_the_evaluation(folder: Path) -> None:
    regions = coco_entries(folder / "regions.json")
    assert [(one.bbox(), one.text("caption")) for one in regions] == [
        ((1, 2, 10, 10), "A ball in the corner.\x07"),
        ((0, 0, 31, 20), "All of it."),
    ]
    (question,) = coco_entries(folder / "questions.json")
    assert (question.text("question"), question.text("answer")) == ("How many?", "Two.")
    assert question.bbox() == (0, 0, 20, 30)
    assert question.data["file_name"] == "a1" * 32 + ".jpg"


def test_a_batch_of_nothing_is_a_dataset_of_nothing() -> None:
    archive = unpacked(coco.write, [])
    for name in ("instances", "captions", "regions", "questions"):
        content = document(archive, f"annotations/{name}.json")
        assert content["images"] == content["annotations"] == []
