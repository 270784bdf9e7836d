"""GranD-f's four sources give the same grounded captions, whatever form each is written in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.model import conversation
from tests.training.data.files import HEIGHT, WIDTH, block, polygon, rle, write
from training.data import grandf, grandf_flickr, grandf_refcocog
from training.data.grounded import GroundedCaption, GroundedCaptions
from training.data.sample import DataError, Sample

LEFT, RIGHT = block(0, 0, 20, 40), block(30, 10, 60, 40)


def only_sample(source: Path, captions: list[GroundedCaption], plain: bool = True) -> Sample:
    dataset = GroundedCaptions(source, captions, plain_question=plain)
    assert len(dataset) == 1
    return dataset.sample(0, np.random.default_rng(0))


def decoded(sample: Sample) -> list[np.ndarray]:
    return [mask.decode(HEIGHT, WIDTH) for turn in sample.turns for mask in turn.masks]


def human(**changes: Any) -> dict[str, Any]:
    record = {
        "file_name": "one.jpg",
        "caption": '"A man beside two dogs."',
        "groundings": {
            "two dogs": {"token_positives": [13, 21], "rle_masks": [rle(RIGHT), rle(LEFT)]},
            "A man": {"token_positives": [0, 5], "rle_masks": [rle(LEFT)]},
        },
    }
    return record | changes


def test_human_annotations(tmp_path: Path, images: Path) -> None:
    """Phrases come in the caption's order, a phrase's masks as one; the caption's quotation marks do not count."""
    path = write(tmp_path / "GranDf_HA_GCG_train.json", [human()])
    sample = only_sample(path, grandf.read(path, images))
    (turn,) = sample.turns
    assert turn.question == conversation.GCG
    assert turn.answer == "<p> A man </p> [SEG] beside <p> two dogs </p> [SEG]."
    man, dogs = decoded(sample)
    assert (man == LEFT).all()
    assert (dogs == LEFT | RIGHT).all()
    assert sample.image == images / "one.jpg"


def test_phrases_that_overlap_cannot_both_be_marked(tmp_path: Path, images: Path) -> None:
    both = human()["groundings"] | {"dogs": {"token_positives": [17, 21], "rle_masks": [rle(RIGHT)]}}
    path = write(tmp_path / "annotations.json", [human(groundings=both)])
    assert only_sample(path, grandf.read(path, images)).turns[0].answer.count("[SEG]") == 2


def test_records_without_phrases_are_left_out(tmp_path: Path, images: Path) -> None:
    path = write(tmp_path / "annotations.json", [human(groundings={}), human()])
    assert only_sample(path, grandf.read(path, images)).index == 1


def test_questions_are_worded_in_many_ways(tmp_path: Path, images: Path) -> None:
    path = write(tmp_path / "annotations.json", [human()])
    dataset = GroundedCaptions(path, grandf.read(path, images))
    asked = {dataset.sample(0, np.random.default_rng(seed)).turns[0].question for seed in range(40)}
    assert len(asked) > 10


def test_expressions_are_searched_for_in_the_caption(tmp_path: Path, images: Path) -> None:
    record = {
        "img_file_name": "two.jpg",
        "caption": "The Red Ball lies near a box.",
        "refs": [
            {"sentence": "a box", "segmentation": [polygon(30, 10, 60, 40)]},
            {"sentence": "the red ball", "segmentation": [polygon(0, 0, 10, 40), polygon(10, 0, 20, 40)]},
            {"sentence": "a lamp", "segmentation": [polygon(0, 0, 5, 5)]},
        ],
    }
    path = write(tmp_path / "RefCOCOg_GCG_train.json", [record])
    sample = only_sample(path, grandf_refcocog.read(path, images))
    assert sample.turns[0].answer == "<p> the red ball </p> [SEG] lies near <p> a box </p> [SEG]."
    ball, box = decoded(sample)
    assert (ball == LEFT).all()
    assert (box == RIGHT).all()


def flickr() -> dict[str, Any]:
    image = {"id": 7, "file_name": "one.jpg", "caption": "Two men wave.", "height": HEIGHT, "width": WIDTH}
    man = {"image_id": 7, "tokens_positive": [[0, 7]], "bbox": [0, 0, 20, 40], "sam_mask": rle(LEFT)}
    other = man | {"bbox": [30, 10, 30, 30], "sam_mask": rle(RIGHT)}
    return {"images": [image, image | {"id": 8, "caption": "Two men"}], "annotations": [man, other]}


def test_flickr_boxes_of_one_phrase_make_one_mask(tmp_path: Path, images: Path) -> None:
    """And a caption of two words is left out."""
    path = write(tmp_path / "flickr_mergedGT_GCG_train.json", flickr())
    sample = only_sample(path, grandf_flickr.read(path, images))
    assert sample.turns[0].answer == "<p> Two men </p> [SEG] wave."
    (both,) = decoded(sample)
    assert (both == LEFT | RIGHT).all()


@pytest.mark.parametrize(
    ("record", "field", "says"),
    [
        ({"file_name": "one.jpg", "groundings": {}}, "caption", "required"),
        (human(file_name="../one.jpg"), "file_name", "inside the folder"),
        (
            human(groundings={"x": {"token_positives": [3, 99], "rle_masks": [rle(LEFT)]}}),
            "groundings.x.token_positives",
            "no characters",
        ),
        (
            human(groundings={"x": {"token_positives": [0, 5], "rle_masks": []}}),
            "groundings.x.rle_masks",
            "at least 1 item",
        ),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, images: Path, record: dict[str, Any], field: str, says: str) -> None:
    path = write(tmp_path / "annotations.json", [human(), record])
    with pytest.raises(DataError, match=says) as caught:
        grandf.read(path, images)
    assert caught.value.field == field
    assert f"{path}, record 1" in caught.value.detail


def test_a_flickr_annotation_without_a_picture_is_named(tmp_path: Path, images: Path) -> None:
    content = flickr()
    content["annotations"][1]["image_id"] = 99
    path = write(tmp_path / "annotations.json", content)
    with pytest.raises(DataError, match="no image has the id 99") as caught:
        grandf_flickr.read(path, images)
    assert caught.value.field == "annotations.image_id"


def test_a_file_that_is_no_json_is_named(tmp_path: Path, images: Path) -> None:
    path = tmp_path / "annotations.json"
    path.write_text("[{")
    with pytest.raises(DataError, match="is not JSON"):
        grandf.read(path, images)
    with pytest.raises(DataError, match="No such file"):
        grandf.read(tmp_path / "nowhere.json", images)


def test_a_mask_of_another_size_than_its_picture_is_refused(tmp_path: Path, images: Path) -> None:
    path = write(tmp_path / "annotations.json", [human()])
    (mask, *_) = only_sample(path, grandf.read(path, images)).turns[0].masks
    with pytest.raises(ValueError, match="60 × 40 pixels, the picture 61 × 40"):
        mask.decode(HEIGHT, WIDTH + 1)
