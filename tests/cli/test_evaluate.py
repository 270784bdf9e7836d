"""`glamm evaluate` on small files in the reference's formats, with figures worked out by hand, and on files that are
wrong in every way that can be told."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared import masks


def rle(first: int, last: int, size: tuple[int, int] = (10, 10)) -> dict[str, Any]:
    """Some rows of an image as COCO's RLE object."""
    mask = np.zeros(size, bool)
    mask[first:last] = True
    return {"size": list(size), "counts": masks.encode(mask).counts}


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture
def split(tmp_path) -> Path:
    """Two images of a GranD-f split: two phrases with a mask each."""
    truth = tmp_path / "truth"
    images = [{"id": "sa_1"}, {"id": "sa_2"}]
    there = {"sa_1": (rle(0, 4), rle(4, 10)), "sa_2": (rle(0, 5), rle(6, 8))}
    write(
        truth / "val_gcg_coco_mask_gt.json",
        {
            "images": images,
            "annotations": [
                {"image_id": image, "category_id": 1, "segmentation": mask}
                for image, pair in there.items()
                for mask in pair
            ],
        },
    )
    write(
        truth / "val_gcg_coco_caption_gt.json",
        {
            "images": images,
            "annotations": [
                {"image_id": "sa_1", "caption": "A dog in front of snow.", "labels": ["A dog", "snow"]},
                {"image_id": "sa_2", "caption": "Two cats asleep on a bed.", "labels": ["Two cats", "a bed"]},
            ],
        },
    )
    return truth


@pytest.fixture
def prediction(tmp_path) -> Callable[..., Path]:
    """Writes the one prediction, of the first image, and returns its folder."""

    def make(**changes: object) -> Path:
        told = {
            "image_id": "sa_1",
            "caption": "a dog in front of snow",
            "phrases": ["The dog", "snow"],
            "pred_masks": [rle(0, 4), rle(4, 9)],
        }
        return write(tmp_path / "said" / "sa_1.json", told | changes).parent

    return make


def test_gcg_by_the_papers_protocol(glamm, split, prediction):
    code, out, _ = glamm("evaluate", "gcg", "--predictions", prediction(), "--ground-truth", split, "--json")
    assert code == 0
    told = json.loads(out.splitlines()[-1])
    assert (told["task"], told["images"], told["missing"]) == ("gcg", 2, 1)
    assert told["similarity"].startswith("lexical")
    assert told["metrics"] == pytest.approx(
        {
            # The first caption is its reference, word for word, and nothing was said of the second image.
            # Weights: a, in, of, two, on ¼, the rest ¾: precision 1, recall 3 / 6, no broken chunk.
            "meteor": 1 / (0.15 + 0.85 / (3 / 6)),
            "cider": (10 + 0) / 2,
            # Two hits and four truths: precision 1 up to a recall of 1/2, which 51 of 101 points reach.
            "ap50": 51 / 101,
            # The second hit's IoU is 5/6: it fails at 3 of 10 thresholds, where 26 points have precision 1.
            "ap": (7 * 51 + 3 * 26) / 10 / 101,
            "miou": ((1 + 5 / 6) / 2 + 0) / 2,
            "recall": 2 / 4,
        }
    )


def test_referring_expressions_from_polygons_and_a_line_each(glamm, tmp_path):
    truth = write(
        tmp_path / "truth.json",
        {
            "images": [{"id": 7, "height": 10, "width": 10}],
            "annotations": [
                {"image_id": 7, "expression": "The dog", "segmentation": [[0, 0, 10, 0, 10, 5, 0, 5]]},
                {"image_id": 7, "expression": "the bird", "segmentation": []},
                {"image_id": 7, "sentence": "the snow", "segmentation": rle(5, 10)},
            ],
        },
    )
    said = tmp_path / "said.jsonl"
    entries = (
        {"image_id": 7, "expression": "the dog", "pred_masks": [rle(0, 2), rle(2, 4)]},
        {"image_id": 7, "expression": "the bird", "segmentation": None},
    )
    said.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    code, out, _ = glamm("evaluate", "refseg", "--predictions", said, "--ground-truth", truth, "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["expressions"], told["missing"]) == (3, 1)
    # dog: 40 of 50 pixels; bird: rightly nothing; snow: missed, 0 of 50.
    assert told["metrics"] == pytest.approx(
        {
            "ciou": 40 / 100,
            "giou": (0.8 + 1 + 0) / 3,
            "precision_50": 2 / 3,
            "absent_refused": 1.0,
            "present_refused": 1 / 2,
        }
    )


def test_a_figure_that_the_set_cannot_tell_is_null_and_no_column(glamm, tmp_path):
    truth = write(tmp_path / "truth.json", [{"image_id": 1, "expression": "dog", "segmentation": rle(0, 4)}])
    arguments = ("evaluate", "refseg", "--predictions", truth, "--ground-truth", truth)
    _, out, _ = glamm(*arguments, "--json")
    assert json.loads(out)["metrics"]["absent_refused"] is None
    _, out, _ = glamm(*arguments)
    assert "absent" not in out
    assert "present" in out


def test_an_expression_that_stands_twice_takes_its_predictions_in_order(glamm, tmp_path):
    truth = write(
        tmp_path / "truth.json",
        [{"image_id": "a", "expression": "person", "segmentation": rle(*rows)} for rows in ((0, 4), (5, 9))],
    )
    both = [{"expression": "person", "segmentation": rle(*rows)} for rows in ((0, 4), (5, 9))]
    for said, giou in ((both, 1.0), (both[:1], 0.5)):
        write(tmp_path / "said" / "a.json", said)
        arguments = ("--predictions", tmp_path / "said", "--ground-truth", truth, "--json")
        _, out, _ = glamm("evaluate", "refseg", *arguments)
        assert json.loads(out)["metrics"]["giou"] == pytest.approx(giou)


def test_captions_of_regions_as_a_table(glamm, tmp_path):
    texts = {("1", "1"): "a red dog sits", ("1", "2"): "the old cat sleeps"}
    truth = [{"image_id": image, "region_id": region, "caption": text} for (image, region), text in texts.items()]
    said = [entry | {"caption": entry["caption"].upper() + "!"} for entry in truth]
    code, out, _ = glamm(
        "evaluate",
        "region-caption",
        "--predictions",
        write(tmp_path / "said.json", said),
        "--ground-truth",
        write(tmp_path / "truth.json", truth),
    )
    assert code == 0
    assert "region-caption: 2 regions" in out
    # Papers print METEOR and ROUGE-L of a perfect set as 100, and CIDEr as 1000.
    figures = {part for line in out.splitlines() for part in line.replace("│", " ").split()}
    assert {"METEOR", "CIDEr", "100.0", "1000.0"} <= figures
    assert "without a prediction" not in out
    assert "Accuracy" not in out


def test_captions_of_regions_name_their_category(glamm, tmp_path):
    """The categories are the set's own: "truck" is none of a caption that says "fire truck", for that is one, too."""
    told = {
        "1": ("fire truck", "Two red Fire Trucks."),
        "2": ("truck", "A fire truck on a road."),
        "3": ("truck", "A truck behind a fire truck."),
        "4": ("dog", "A hotdog."),
        "5": ("cat", "A cat's tail."),
    }
    truth = [{"image_id": 1, "region_id": n, "caption": "x", "category": name} for n, (name, _) in told.items()]
    truth.append({"image_id": 2, "region_id": 1, "caption": "Something that nobody named."})
    said = [{"image_id": 1, "region_id": n, "caption": text} for n, (_, text) in told.items()]
    files = ("--predictions", write(tmp_path / "said.json", said))
    code, out, err = glamm(
        "evaluate", "region-caption", *files, "--ground-truth", write(tmp_path / "truth.json", truth), "--json"
    )
    assert code == 0, err
    assert json.loads(out)["metrics"]["accuracy"] == pytest.approx(3 / 5)
    for wrong, part in (
        (truth[0] | {"category": "lorry"}, "'fire truck' elsewhere"),
        (truth[0] | {"category": "!"}, "category has no word"),
        (truth[0] | {"category": 3}, "category is missing or no text"),
    ):
        changed = write(tmp_path / "truth.json", [*truth, wrong])
        code, _, err = glamm("evaluate", "region-caption", *files, "--ground-truth", changed)
        assert code == 2
        assert part in err
        assert "truth.json[6]" in err


def test_answers_count_when_they_are_exact(glamm, tmp_path):
    truth = [
        {"image_id": 1, "question_id": 1, "question": "How many?", "answer": "Two.", "type": "how_many"},
        {"image_id": 1, "question_id": 2, "question": "How many?", "answer": "3", "type": "how_many"},
        {"file_name": "b.png", "question": "What is it?", "bbox": [1, 2, 3, 4], "answer": "A dog.", "type": "what"},
        {"file_name": "b.png", "question": "What is it?", "bbox": None, "answer": "A cat.", "type": "what"},
        {"file_name": "b.png", "question": "Who?", "answers": ["the man", "somebody"]},
        {"file_name": "b.png", "question": "Why?", "answer": "Because.", "type": "why"},
    ]
    said = [
        {"image_id": 1, "question_id": 1, "answer": " 2 "},
        {"image_id": 1, "question_id": 2, "answer": "four"},
        {"file_name": "b.png", "question": "what is  it?", "answer": "a cat"},
        {"file_name": "b.png", "question": "What is it?", "bbox": [1.0, 2, 3, 4], "answer": "the Dog"},
        {"file_name": "b.png", "question": "who?", "answer": "Somebody."},
    ]
    files = (
        "--predictions",
        write(tmp_path / "said.json", said),
        "--ground-truth",
        write(tmp_path / "truth.json", truth),
    )
    code, out, err = glamm("evaluate", "vqa", *files, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["task"], told["questions"], told["missing"]) == ("vqa", 6, 1)
    assert told["metrics"] == pytest.approx(
        {"accuracy": 4 / 6, "accuracy_how_many": 1 / 2, "accuracy_what": 1.0, "accuracy_why": 0.0}
    )
    _, out, _ = glamm("evaluate", "vqa", *files)
    shown = {part for line in out.splitlines() for part in line.replace("│", " ").replace("┃", " ").split()}
    assert {"Accuracy", "how_many", "what", "why", "66.7", "50.0", "100.0", "0.0"} <= shown
    assert "1 question without a prediction" in out


def test_what_is_wrong_with_questions_and_answers_is_told(glamm, tmp_path):
    entry = {"image_id": 1, "question": "How many?", "answer": "Two."}
    for truth, said, told in (
        ([entry], [entry | {"question": "Who?"}], "said.json[0]: Image 1 has no question 'who?'"),
        ([entry], [entry | {"bbox": [1, 2, 3, 4]}], "said.json[0]: Image 1 has no question 'how many?'"),
        ([entry], [entry, entry], "said.json[1]: Image 1 has too many predictions of 'how many?'"),
        ([entry], [{"image_id": 1, "question": "How many?"}], "said.json[0]: answer is missing"),
        ([entry], [{"question": "How many?", "answer": "2"}], "said.json[0]: image_id or file_name is missing"),
        ([entry | {"answer": " . "}], [entry], "truth.json[0]: An answer is empty"),
        ([entry | {"type": 4}], [entry], "truth.json[0]: type is missing or no text"),
        ([entry | {"bbox": [1, 2]}], [entry], "truth.json[0]: bbox is missing or not four numbers"),
        ([], [entry], "truth.json: It has no questions"),
    ):
        files = (write(tmp_path / "said.json", said), "--ground-truth", write(tmp_path / "truth.json", truth))
        code, _, err = glamm("evaluate", "vqa", "--predictions", *files)
        assert code == 2
        assert told in err


def test_what_is_wrong_with_predictions_of_gcg_is_told(glamm, split, prediction, tmp_path):
    wrong = {
        "sa_9 is not in the ground truth": {"image_id": "sa_9"},
        "caption is missing": {"caption": 3},
        "phrases is not a list of texts": {"phrases": "dog"},
        "pred_masks is not a list": {"pred_masks": rle(0, 4)},
        "pred_masks[1] has counts that do not fill": {"pred_masks": [rle(0, 4), {"size": [10, 10], "counts": "04"}]},
        "pred_masks[0] is 20 × 10": {"pred_masks": [rle(0, 4, (20, 10))]},
    }
    for told, changes in wrong.items():
        code, out, err = glamm("evaluate", "gcg", "--predictions", prediction(**changes), "--ground-truth", split)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert told in line
        assert "sa_1.json" in line


def test_files_that_cannot_be_read_are_named(glamm, split, prediction, tmp_path):
    said = prediction()
    broken, empty, latin = tmp_path / "broken.json", tmp_path / "empty", tmp_path / "latin.jsonl"
    broken.write_text('{"image_id": 1')
    empty.mkdir()
    latin.write_bytes(b'{"image_id": "\xe9"}')
    scalar = write(tmp_path / "scalar.json", [1])
    for predictions, told in (
        (tmp_path / "none.json", "no such file"),
        (broken, "not JSON"),
        (empty, "no .json file"),
        (latin, "not UTF-8"),
        (scalar, "not a JSON object"),
    ):
        code, _, err = glamm("evaluate", "gcg", "--predictions", predictions, "--ground-truth", split)
        assert code == 2
        (line,) = err.splitlines()
        assert told in line
        assert predictions.name in line
    for truth, told in (
        (tmp_path / "none", "no such file or folder"),
        (empty, "these splits: none"),
        (broken, "no ground truth"),
    ):
        code, _, err = glamm("evaluate", "gcg", "--predictions", said, "--ground-truth", truth)
        assert code == 2
        assert told in err


def test_two_splits_in_one_folder_must_be_told_apart(glamm, split, prediction):
    for kind in ("mask", "caption"):
        val = split / f"val_gcg_coco_{kind}_gt.json"
        val.with_name(f"test_gcg_coco_{kind}_gt.json").write_bytes(val.read_bytes())
    said = prediction(image_id="sa_9")
    code, _, err = glamm("evaluate", "gcg", "--predictions", said, "--ground-truth", split)
    assert code == 2
    assert "test, val" in err
    code, _, err = glamm("evaluate", "gcg", "--predictions", said, "--ground-truth", split, "--split", "val")
    assert "sa_9 is not in the ground truth" in err


def test_expressions_and_captions_without_a_truth_or_said_twice_are_told(glamm, tmp_path):
    truth = write(tmp_path / "truth.json", [{"image_id": 1, "expression": "dog", "segmentation": rle(0, 4)}])
    entry = {"image_id": 1, "expression": "dog", "segmentation": rle(0, 4)}
    for said, told in (
        ([entry | {"expression": "cat"}], "no expression 'cat'"),
        ([entry, entry], "too many predictions"),
        ([entry | {"segmentation": rle(0, 4, (5, 5))}], "segmentation is 5 × 5"),
        ([{"image_id": 1, "segmentation": None}], "expression or sentence is missing"),
    ):
        arguments = ("--predictions", write(tmp_path / "said.json", said), "--ground-truth", truth)
        code, _, err = glamm("evaluate", "refseg", *arguments)
        assert code == 2
        assert told in err
        assert "said.json[" in err
    captions = write(tmp_path / "captions.json", [{"image_id": 1, "captions": ["a dog", "the dog"]}])
    for said, told in (
        ([{"image_id": 2, "caption": "a dog"}], "Image 2 is not in the ground truth"),
        ([{"image_id": 1, "caption": "a dog"}] * 2, "a second prediction"),
    ):
        arguments = ("--predictions", write(tmp_path / "said.json", said), "--ground-truth", captions)
        code, _, err = glamm("evaluate", "caption", *arguments)
        assert code == 2
        assert told in err


def test_the_command_is_there_without_the_packages_of_the_metrics():
    """The torch-less image has neither `training` nor pycocoevalcap; only running a metric may need them."""
    import subprocess

    block = "import sys; sys.modules['training'] = sys.modules['pycocoevalcap'] = None; "
    run = "import sys; sys.argv = ['glamm', *{}]; from services.cli.main import main; main()"
    helped = subprocess.run([sys.executable, "-c", block + run.format(["evaluate", "--help"])], capture_output=True)
    assert helped.returncode == 0
    arguments = ["evaluate", "refseg", "--predictions", "a", "--ground-truth", "b"]
    refused = subprocess.run([sys.executable, "-c", block + run.format(arguments)], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "glamm[evaluation]" in refused.stderr
