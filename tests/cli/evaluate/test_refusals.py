"""`glamm evaluate` on files that are wrong in every way that can be told, and where it has no metrics to run."""

import subprocess
import sys

from tests.cli.evaluate.conftest import rle, write


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
    arguments = ("--predictions", said, "--ground-truth", split / "val_gcg_coco_mask_gt.json", "--split", "test")
    code, _, err = glamm("evaluate", "gcg", *arguments)
    assert code == 2
    assert "is of the split val" in err


def test_expressions_and_captions_without_a_truth_or_said_twice_are_told(glamm, tmp_path):
    truth = write(tmp_path / "truth.json", [{"image_id": 1, "expression": "dog", "segmentation": rle(0, 4)}])
    entry = {"image_id": 1, "expression": "dog", "segmentation": rle(0, 4)}
    for said, told in (
        ([entry | {"expression": "cat"}], "no expression 'cat'"),
        ([entry, entry], "too many predictions"),
        ([entry | {"segmentation": rle(0, 4, (5, 5))}], "segmentation is 5 × 5"),
        ([{"image_id": 1, "segmentation": None}], "is missing or no text. Give each entry an expression."),
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
    block = "import sys; sys.modules['training'] = sys.modules['pycocoevalcap'] = None; "
    run = "import sys; sys.argv = ['glamm', *{}]; from services.cli.main import main; main()"
    helped = subprocess.run([sys.executable, "-c", block + run.format(["evaluate", "--help"])], capture_output=True)
    assert helped.returncode == 0
    arguments = ["evaluate", "refseg", "--predictions", "a", "--ground-truth", "b"]
    refused = subprocess.run([sys.executable, "-c", block + run.format(arguments)], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "glamm[evaluation]" in refused.stderr
