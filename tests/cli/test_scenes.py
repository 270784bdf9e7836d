"""`glamm scenes`: a set of composed scenes with its ground truth."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Run


def test_it_writes_pictures_and_ground_truth(command: Callable[..., Run], tmp_path: Path) -> None:
    out = tmp_path / "new" / "set"
    run = command("scenes", "--split", "compositional", "--seed", 7, "--count", 2, "--side", 96, "--out", out)
    assert (run.code, run.out) == (0, f"{out}: 2 scenes\n")
    names = ["compositional_0000007.png", "compositional_0000008.png"]
    assert sorted(path.name for path in (out / "images").iterdir()) == names
    assert [record["file_name"] for record in json.loads((out / "annotations.json").read_text())] == names
    tasks = {"caption.json", "refseg.json", "region_caption.json", "vqa.json"}
    assert {path.name for path in out.iterdir()} == {"annotations.json", "gcg", "images", *tasks}


def test_a_split_that_there_is_not_is_refused(command: Callable[..., Run], tmp_path: Path) -> None:
    run = command("scenes", "--split", "val", "--seed", 0, "--count", 1, "--out", tmp_path / "x")
    assert (run.code, run.out, len(run.err.splitlines())) == (2, "", 1)
    assert all(words in run.err for words in ("--split", "'val'", "compositional"))


def test_a_folder_with_something_else_in_it_is_left_alone(command: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("something else")
    run = command("scenes", "--split", "test", "--seed", 0, "--count", 1, "--out", tmp_path)
    assert (run.code, run.out, len(run.err.splitlines())) == (2, "", 1)
    assert "--out" in run.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
