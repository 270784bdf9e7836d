"""Predictions of a whole set through a real service: complete, resumed, and readable by `glamm evaluate`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.cli.asking import Kind
from services.cli.predict import plan
from shared.masks import Rle, decode
from shared.priority import Priority
from shared.tasks import Ask, Task
from tests.training.data.files import HEIGHT, WIDTH, write_refcoco

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


def test_a_set_is_predicted_as_bulk_so_that_nobody_waits_behind_it(on_service, client, images, tmp_path):
    run = on_service("predict", "--task", "caption", "--images", images, "--out", tmp_path / "out")
    assert run.code == 0, run.err
    sent = [client.upload_image(path.read_bytes()).id for path in images.glob("*.png")]
    newest = [next(client.jobs(image_id=image, task=Task.CAPTION)) for image in sent]
    assert [job.priority for job in newest] == [Priority.BULK, Priority.BULK]


def test_of_grandf_only_the_images_of_the_split_are_predicted(on_service, command, images, tmp_path):
    """The pictures of both splits lie in one folder, and so may their predictions."""
    truth, out = tmp_path / "truth", tmp_path / "gcg"
    truth.mkdir()
    for split, image in (("val", "three"), ("test", "one.two")):
        width, height = SIZES[image]
        everything = {"size": [height, width], "counts": [0, height * width]}
        said = {"image_id": image, "caption": "A thing.", "labels": ["A thing"]}
        for kind, entry in (("caption", said), ("mask", {"image_id": image, "segmentation": everything})):
            document = {"images": [{"id": image}], "annotations": [entry]}
            (truth / f"{split}_gcg_coco_{kind}_gt.json").write_text(json.dumps(document))
    asked = ("--task", "gcg", "--images", images, "--out", out)
    run = on_service("predict", *asked, "--ground-truth", truth)
    assert run.code == 2
    assert "--split" in run.err
    run = on_service("predict", *asked, "--ground-truth", truth, "--split", "val")
    assert run.code == 0, run.err
    assert [path.name for path in out.iterdir()] == ["three.json"]
    run = on_service("predict", *asked)
    assert "1 predicted, 1 there already, 0 failed" in run.out
    measured = command("evaluate", "gcg", "--predictions", out, "--ground-truth", truth, "--split", "val", "--json")
    told = json.loads(measured.out)
    assert (told["images"], told["missing"], told["outside"]) == (1, 0, 1)


def test_captions_are_of_the_images_of_the_ground_truth_and_called_as_it_calls_them(on_service, images, tmp_path):
    """An image has several captions in COCO's file, and an id that is not the name of its picture."""
    captions = [{"id": n, "image_id": 9, "caption": "A thing."} for n in range(3)]
    truth, out = tmp_path / "truth.json", tmp_path / "out"
    truth.write_text(json.dumps({"images": [{"id": 9, "file_name": "three.png"}], "annotations": captions}))
    run = on_service("predict", "--task", "caption", "--images", images, "--ground-truth", truth, "--out", out)
    assert run.code == 0, run.err
    assert [entry["image_id"] for entry in written(out)] == ["9"]


def test_a_region_is_described_once_however_many_references_it_has(on_service, command, images, tmp_path):
    regions = [("1", [1, 2, 20, 30], "A dog."), ("2", [30, 2, 20, 30], "A cat."), ("1", [1, 2, 20, 30], "The dog.")]
    entries = [
        {"image_id": "three", "region_id": name, "bbox": box, "caption": text} for name, box, text in regions
    ] + [{"image_id": "one.two", "bbox": [1, 2, 20, 30], "caption": text} for text in ("A bird.", "The bird.")]
    truth, out = tmp_path / "truth.json", tmp_path / "regions"
    truth.write_text(json.dumps(entries))
    arguments = ("--task", "region-caption", "--images", images, "--ground-truth", truth, "--out", out)
    run = on_service("predict", *arguments)
    assert run.code == 0, run.err
    assert [(entry["image_id"], entry.get("region_id")) for entry in written(out)] == [
        ("one.two", None),
        ("three", "1"),
        ("three", "2"),
    ]
    measured = command("evaluate", "region-caption", "--predictions", out, "--ground-truth", truth, "--json")
    assert measured.code == 0, measured.err
    told = json.loads(measured.out)
    assert (told["regions"], told["missing"]) == (3, 0)

    truth.write_text(json.dumps([*entries, entries[0] | {"bbox": [9, 9, 9, 9]}]))
    run = on_service("predict", *arguments)
    assert run.code == 2
    assert "truth.json[5]: It is the region of" in run.err
    assert "truth.json[0], with another bbox" in run.err


def test_the_expressions_of_a_split_of_refcoco_are_asked(on_service, command, tmp_path):
    folder, images, out = tmp_path / "refcoco", tmp_path / "train2014", tmp_path / "out"
    for made in (folder, images):
        made.mkdir()
    write_refcoco(folder)
    Image.new("RGB", (WIDTH, HEIGHT), "teal").save(images / "one.jpg")
    truth = ("--ground-truth", folder, "--split", "train")
    run = on_service("predict", "--task", "refseg", "--images", images, *truth, "--out", out)
    assert run.code == 0, run.err
    assert [path.name for path in out.iterdir()] == ["1.json"]
    assert [entry["expression"] for entry in written(out)] == ["left cat", "the cat on the left", "right cat"]
    measured = command("evaluate", "refseg", "--predictions", out, *truth, "--json")
    assert measured.code == 0, measured.err
    told = json.loads(measured.out)
    assert (told["expressions"], told["missing"]) == (3, 0)


def test_captions_need_no_more_than_images(on_service, images, tmp_path):
    run = on_service("predict", "--task", "caption", "--images", images, "--out", tmp_path / "out", "--json")
    assert run.code == 0, run.err
    assert json.loads(run.out) == {"out": str(tmp_path / "out"), "predicted": 2, "there": 0, "failed": 0}
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
    assert {path.name for path in out.iterdir()} == {"three.json", "three+2.json", "7.json"}
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


def test_each_question_is_a_job_and_a_file_that_evaluate_reads(on_service, images, tmp_path):
    truth = tmp_path / "truth.json"
    entries = [
        {"image_id": "three", "question_id": 9, "question": "How many?", "bbox": None, "answer": "Two."},
        {"image_id": "three", "question": "What is it?", "bbox": [10, 20, 30, 400], "answer": "A thing."},
        {"image_id": "three", "question": "What is it?", "answer": "A thing."},
        {"image_id": "three", "question": "Is it <box1>?", "answer": "Yes."},
        {"image_id": "three", "question": " ", "answer": "Yes."},
        {"image_id": "three", "question": "Where is it?", "bbox": [64, 0, 5, 5], "answer": "Here."},
        {"file_name": "one.two.png", "question": "Who?", "answer": "Nobody.", "type": "who"},
    ]
    truth.write_text(json.dumps(entries))
    out = tmp_path / "vqa"
    arguments = ("predict", "--task", "vqa", "--images", images, "--ground-truth", truth, "--out", out)
    for summary in ("4 predicted, 0 there already, 3 failed", "0 predicted, 4 there already, 3 failed"):
        run = on_service(*arguments)
        assert run.code == 2
        assert summary in run.out
        marked, blank, outside = run.err.splitlines()
        assert "truth.json[3]: The question speaks of <box1>" in marked
        assert "truth.json[4]: The question is empty." in blank
        assert "truth.json[5]: Nothing of its bbox is inside the image (64 × 64)" in outside
    assert {path.name for path in out.iterdir()} == {"three.json", "three+2.json", "three+3.json", "one.two.png.json"}
    asked = [{name: entry[name] for name in entry if name != "answer"} for entry in written(out)]
    assert asked == [
        {"image_id": "one.two.png", "question": "Who?"},
        {"image_id": "three", "question": "What is it?", "bbox": [10, 20, 30, 400]},
        {"image_id": "three", "question": "What is it?"},
        {"image_id": "three", "question_id": 9, "question": "How many?", "bbox": None},
    ]


def test_an_answer_holds_no_markup(on_service, client, images, tmp_path):
    """The model of the tests says [SEG] all the time."""
    truth, out = tmp_path / "truth.json", tmp_path / "vqa"
    truth.write_text(json.dumps([{"image_id": "three", "question": "What is it?", "answer": "A thing."}]))
    run = on_service("predict", "--task", "vqa", "--images", images, "--ground-truth", truth, "--out", out)
    assert run.code == 0, run.err
    stored = client.upload_image((images / "three.png").read_bytes())
    job = client.wait_for(client.create_job(stored.id, Ask(Task.VQA, "What is it?")).id)
    assert job.result is not None
    assert job.result.phrases
    (entry,) = written(out)
    assert entry["answer"] == job.result.text
    assert "[SEG]" not in entry["answer"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--task", "poetry", "--images", "."], "--task"),
        (["--task", "gcg", "--images", "nowhere"], "--images"),
        (["--task", "gcg", "--images", "EMPTY"], "--images"),
        (["--task", "refseg", "--images", "EMPTY"], "--ground-truth"),
        (["--task", "vqa", "--images", "EMPTY"], "--ground-truth"),
        (["--task", "refseg", "--images", "EMPTY", "--ground-truth", "nowhere.json"], "nowhere.json"),
        (["--task", "gcg", "--images", "EMPTY", "--ground-truth", "nowhere"], "nowhere"),
        (["--task", "gcg", "--images", "EMPTY", "--split", "val"], "--split"),
        (["--task", "vqa", "--images", "EMPTY", "--ground-truth", "nowhere.json", "--split", "val"], "--split"),
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


def test_a_question_that_cannot_be_answered_costs_the_others_nothing(on_service, images, tmp_path):
    """The picture is stored lying and seen standing, 60 × 80: boxes are of what is seen."""
    with Image.open(images / "one.two.png") as lying:
        exif = lying.getexif()
        exif[0x0112] = 6
        lying.save(images / "turned.jpg", exif=exif)
    boxes = {
        "inside": [5, 5, 20, 20],
        "beyond": [50, 70, 20, 20.5],
        "outside": [60, 0, 9, 9],
        "flat": [1, 1, 0, 4],
    }
    regions = [{"image_id": "turned", "region_id": name, "bbox": box} for name, box in boxes.items()]
    truth, out = tmp_path / "truth.json", tmp_path / "regions"
    truth.write_text(json.dumps([*regions, {"image_id": "three", "region_id": "nothing", "bbox": [90, 90, 5, 5]}]))
    arguments = ("predict", "--task", "region-caption", "--images", images, "--ground-truth", truth, "--out", out)
    for summary in ("1 predicted, 0 there already, 3 failed", "0 predicted, 1 there already, 3 failed"):
        run = on_service(*arguments)
        assert run.code == 2
        assert summary in run.out
        outside, flat, nothing = run.err.splitlines()
        assert all(part in outside for part in ("turned.jpg", "truth.json[2]", "60 × 80", "leave it out"))
        assert "truth.json[3]" in flat
        assert all(part in nothing for part in ("three.png", "truth.json[4]", "64 × 64"))
        assert [entry["region_id"] for entry in written(out)] == ["inside", "beyond"]

    texts = ["the thing", "  ", "the <image>", "the rest"]
    truth.write_text(json.dumps([{"image_id": "three", "expression": text} for text in texts]))
    out = tmp_path / "refseg"
    run = on_service("predict", "--task", "refseg", "--images", images, "--ground-truth", truth, "--out", out)
    assert run.code == 2
    blank, steering = run.err.splitlines()
    assert "truth.json[1]: The expression is empty." in blank
    assert "truth.json[2]: The expression holds <image>" in steering
    assert [entry["expression"] for entry in written(out)] == ["the thing", "the rest"]


def test_many_expressions_of_one_image_share_no_file_with_another_image(images, tmp_path):
    (images / "three+2.png").write_bytes((images / "three.png").read_bytes())
    asked = [("three", f"thing {n}") for n in range(65)] + [("three+2", "a thing"), ("three-2", "a thing")]
    (images / "three-2.png").write_bytes((images / "three.png").read_bytes())
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps([{"image_id": image, "expression": text} for image, text in asked]))
    planned = plan(Kind.REFSEG, images, truth, tmp_path / "out")
    names = [one.request.name for one in planned.jobs]
    assert len(names) == len(set(names)) == 4
    assert planned.impossible == ()


def test_two_images_of_one_name_are_both_named(on_service, images, tmp_path):
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps([{"image_id": "three", "expression": "a dog"}]))
    (images / "three.jpg").write_bytes(b"")
    for task, asked in (("gcg", ()), ("refseg", ("--ground-truth", truth))):
        run = on_service("predict", "--task", task, "--images", images, *asked, "--out", tmp_path / "out")
        assert run.code == 2
        (line,) = run.err.splitlines()
        assert "three.png" in line
        assert "three.jpg" in line


def test_without_the_training_package_the_remedy_is_told(images, tmp_path):
    """As in the torch-less image."""
    arguments = ["predict", "--task", "refseg", "--images", str(images), "--ground-truth", "t", "--out", str(tmp_path)]
    block = "import sys; sys.modules['training'] = None; "
    run = f"sys.argv = ['glamm', *{arguments}]; from services.cli.main import main; main()"
    refused = subprocess.run([sys.executable, "-c", block + run], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "the package training" in line
    assert "glamm[evaluation]" in line
