"""The trainer reads what the service found, and the evaluation takes it for ground truth."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from services.scheduler.exports import ExportedJob, grandf
from shared import masks
from tests.scheduler.exports.files import document, pixels, unpacked
from training.data import grandf as reader
from training.data.grounded import GroundedCaptions
from training.metrics.gcg import read_truth


@pytest.fixture
def folder(tmp_path: Path, jobs: list[ExportedJob]) -> Path:
    unpacked(grandf.write, jobs).extractall(tmp_path)
    return tmp_path


def test_the_trainer_reads_captions_phrases_and_masks(folder: Path, jobs: list[ExportedJob]) -> None:
    first, second = reader.read(folder / "annotations.json", folder / "images")
    assert (first.caption, second.caption) == ("A dog sees a dog <&> ein Fußball.", "Mostly grass")
    assert [first.caption[one.start : one.end] for one in first.phrases] == ["A dog", "a dog"]
    assert [second.caption[one.start : one.end] for one in second.phrases] == ["grass"]
    assert first.image == folder / "images" / jobs[0].image.file_name
    found = [phrase.mask.decode(40, 60) for phrase in first.phrases] + [second.phrases[0].mask.decode(20, 31)]
    dog, ring, _, _, grass = pixels(jobs)
    for mask, expected in zip(found, (dog, ring, grass), strict=True):
        np.testing.assert_array_equal(mask, expected)


def test_a_training_sample_comes_of_it(folder: Path) -> None:
    source = folder / "annotations.json"
    samples = GroundedCaptions(source, reader.read(source, folder))
    turn = samples.sample(0, np.random.default_rng(0)).turns[0]
    assert turn.answer == "<p> A dog </p> [SEG] sees <p> a dog </p> [SEG] <&> ein Fußball."


def test_a_wording_that_comes_twice_is_grounded_twice(jobs: list[ExportedJob]) -> None:
    answer = jobs[0].result.answers[0]
    twice = tuple(replace(one, span=(12, 17)) if one.text == "A dog" else one for one in answer.phrases)
    job = replace(jobs[0], result=replace(jobs[0].result, answers=(replace(answer, phrases=twice),)))
    (record,) = document(unpacked(grandf.write, [job]), "annotations.json")
    assert list(record["groundings"]) == ["a dog", "a dog #2"]


def test_the_evaluation_takes_it_for_ground_truth(folder: Path, jobs: list[ExportedJob]) -> None:
    truth = read_truth(folder / "gcg", grandf.SPLIT)
    first, second = truth["a1" * 32], truth["b2" * 32]
    assert (first.captions, first.phrases) == (("A dog sees a dog <&> ein Fußball.",), ("A dog", "a dog"))
    assert (second.captions, second.phrases) == (("Mostly grass",), ("grass",))
    dog, ring, _, _, grass = pixels(jobs)
    for rle, expected in zip(first.masks + second.masks, (dog, ring, grass), strict=True):
        np.testing.assert_array_equal(masks.decode(rle), expected)


def test_in_the_evaluation_an_image_has_one_caption(jobs: list[ExportedJob]) -> None:
    archive = unpacked(grandf.write, [jobs[0], replace(jobs[0], id=UUID(int=9), line=9)])
    first = jobs[0].image.id
    truth = document(archive, "gcg/val_gcg_coco_caption_gt.json")
    assert [image["id"] for image in truth["images"]] == [first, f"{first}-2"]
    assert {image["file_name"] for image in truth["images"]} == {jobs[0].image.file_name}
    assert [caption["image_id"] for caption in truth["annotations"]] == [first, f"{first}-2"]
    found = document(archive, "gcg/val_gcg_coco_mask_gt.json")["annotations"]
    assert [mask["image_id"] for mask in found] == [first, first, f"{first}-2", f"{first}-2"]
