"""RefCOCO, COCO captions, LLaVA-Instruct and label pictures, read from small files in their forms."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.data.files import HEIGHT, WIDTH, block, reference, write, write_refcoco
from training.data.coco_captions import Captions
from training.data.llava_instruct import Instructions
from training.data.refcoco import ReferringSegmentation, RegionDescriptions
from training.data.sample import DataError
from training.data.semantic import SemanticSegmentation


@pytest.fixture
def refcoco(tmp_path: Path) -> tuple[Path, Path]:
    return write_refcoco(tmp_path)


def test_expressions_ask_for_masks(refcoco: tuple[Path, Path], images: Path) -> None:
    dataset = ReferringSegmentation(*refcoco, images)
    assert len(dataset) == 1
    truth = {"left cat": block(0, 0, 20, 40), "right cat": block(30, 10, 60, 40)}
    truth["cat on the left"] = truth["left cat"]
    counts, asked = set(), set()
    for seed in range(30):
        sample = dataset.sample(0, np.random.default_rng(seed))
        counts.add(len(sample.turns))
        for turn in sample.turns:
            (expression,) = (words for words in truth if words in turn.question)
            asked.add(expression)
            (mask,) = turn.masks
            assert (mask.decode(HEIGHT, WIDTH) == truth[expression]).all()
            assert turn.answer.count("[SEG]") == 1
    assert counts == {1, 2}
    assert asked == set(truth)


def test_the_same_objects_are_described_by_their_boxes(refcoco: tuple[Path, Path], images: Path) -> None:
    boxes = {"right cat": (30, 10, 60, 40), "left cat": (0, 0, 20, 40), "the cat on the left": (0, 0, 20, 40)}
    for seed in range(10):
        for turn in RegionDescriptions(*refcoco, images).sample(0, np.random.default_rng(seed)).turns:
            assert turn.question.count("<bbox>") == 1
            assert turn.boxes == (boxes[turn.answer],)


def test_another_split(refcoco: tuple[Path, Path], images: Path) -> None:
    sample = ReferringSegmentation(*refcoco, images, split="testA").sample(0, np.random.default_rng(0))
    assert sample.image == images / "two.jpg"
    assert sample.index == 2


def test_a_reference_to_nothing_is_named(refcoco: tuple[Path, Path], images: Path) -> None:
    path, instances = refcoco
    path.write_bytes(pickle.dumps([reference(1, 99, "left cat")]))
    with pytest.raises(DataError, match="has no annotation 99") as caught:
        ReferringSegmentation(path, instances, images)
    assert caught.value.field == "ann_id"
    assert f"{path}, record 0" in caught.value.detail


def test_a_pickle_that_would_run_code_is_refused(refcoco: tuple[Path, Path], images: Path) -> None:
    path, instances = refcoco
    path.write_bytes(pickle.dumps([Path("somewhere")]))
    with pytest.raises(DataError, match="plain data"):
        ReferringSegmentation(path, instances, images)


@pytest.mark.parametrize("damaged", [b"", b"no pickle", b"(lp0\n", b"]}a}}s.", b"]K\x01K\x02K\x03s."])
def test_a_damaged_pickle_is_told(refcoco: tuple[Path, Path], images: Path, damaged: bytes) -> None:
    path, instances = refcoco
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="no pickled list"):
        ReferringSegmentation(path, instances, images)


def test_coco_captions(tmp_path: Path, images: Path) -> None:
    content = {
        "images": [{"id": 5, "file_name": "two.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 5, "caption": "A teal sheet.\n"},
            {"id": 2, "image_id": 5, "caption": "Teal."},
        ],
    }
    dataset = Captions(write(tmp_path / "captions.json", content), images)
    assert [dataset.sample(n, np.random.default_rng(0)).turns[0].answer for n in range(len(dataset))] == [
        "A teal sheet.",
        "Teal.",
    ]
    content["annotations"][1]["caption"] = " "
    with pytest.raises(DataError) as caught:
        Captions(write(tmp_path / "captions.json", content), images)
    assert caught.value.field == "annotations.caption"
    assert "record 1" in caught.value.detail


def test_instructions_keep_their_turns(tmp_path: Path, images: Path) -> None:
    messages = [
        {"from": "human", "value": "<image>\nWhat colour is it?"},
        {"from": "gpt", "value": "Teal."},
        {"from": "human", "value": "Is it bright?"},
        {"from": "gpt", "value": "No."},
    ]
    path = write(tmp_path / "llava.json", [{"id": "1", "image": "one.jpg", "conversations": messages}])
    sample = Instructions(path, images).sample(0, np.random.default_rng(0))
    said = [(turn.question, turn.answer) for turn in sample.turns]
    assert said == [("What colour is it?", "Teal."), ("Is it bright?", "No.")]
    write(path, [{"image": "one.jpg", "conversations": messages[1:3]}])
    with pytest.raises(DataError, match="'gpt' speaks where 'human' should") as caught:
        Instructions(path, images)
    assert caught.value.field == "conversations.0.from"


def test_label_pictures(tmp_path: Path, images: Path) -> None:
    """Classes that a picture shows are asked for with their pixels; in one that shows none, one is refused."""
    labels = tmp_path / "labels"
    labels.mkdir()
    numbers = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    Image.fromarray(numbers).save(labels / "two.png")
    numbers[:, :20] = 3
    Image.fromarray(numbers).save(labels / "one.png")
    classes = write(tmp_path / "classes.json", {"3": "wall", "4": "tree"})
    dataset = SemanticSegmentation(labels, images, classes)
    (shown,) = dataset.sample(0, np.random.default_rng(0)).turns
    assert "wall" in shown.question
    assert (shown.masks[0].decode(HEIGHT, WIDTH) == block(0, 0, 20, 40)).all()
    (absent,) = dataset.sample(1, np.random.default_rng(0)).turns
    assert absent.answer.startswith("There is no")
    assert not absent.masks
    (images / "one.jpg").unlink()
    with pytest.raises(DataError, match="no picture of this name"):
        SemanticSegmentation(labels, images, classes)
