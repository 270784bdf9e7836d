"""`glamm evaluate` on small files, with figures worked out by hand."""

import json

import pytest

from tests.cli.evaluate.conftest import rle, write


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


def test_predictions_of_the_other_split_are_left_out_and_told(glamm, split, prediction):
    """The pictures of GranD-f's splits lie in one folder, and the released code predicts them into one."""
    folder = prediction()
    arguments = ("evaluate", "gcg", "--predictions", folder, "--ground-truth", split)
    _, alone, _ = glamm(*arguments, "--json")
    assert json.loads(alone)["outside"] == 0
    write(folder / "sa_7.json", {"caption": "a bus", "phrases": ["a bus"], "pred_masks": [rle(0, 4, (5, 5))]})
    write(folder / "tmp.json", {"sa_8": {"caption": "a tram", "phrases": [], "pred_masks": []}})
    code, out, _ = glamm(*arguments, "--json")
    assert code == 0
    assert json.loads(out) == json.loads(alone) | {"outside": 2}
    code, out, _ = glamm(*arguments)
    assert code == 0
    assert "2 predictions of other images, left out" in out
    assert "1 image without a prediction" in out


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
