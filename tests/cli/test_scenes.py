"""`glamm scenes`: a set of composed scenes with its ground truth."""

import json
from pathlib import Path

from tests.cli.conftest import Glamm_, one_line


def test_it_writes_pictures_and_ground_truth(glamm: Glamm_, tmp_path: Path) -> None:
    out = tmp_path / "new" / "set"
    run = glamm("scenes", "--split", "compositional", "--seed", 7, "--count", 2, "--side", 96, "--out", out)
    assert (run.returncode, run.stdout) == (0, f"{out}: 2 scenes\n")
    names = ["compositional_0000007.png", "compositional_0000008.png"]
    assert sorted(path.name for path in (out / "images").iterdir()) == names
    assert [record["file_name"] for record in json.loads((out / "annotations.json").read_text())] == names
    files = {path.name for path in out.iterdir()}
    assert files == {
        "annotations.json",
        "caption.json",
        "gcg",
        "images",
        "refseg.json",
        "region_caption.json",
        "vqa.json",
    }


def test_it_says_what_it_cannot_do(glamm: Glamm_, tmp_path: Path) -> None:
    one_line(
        glamm("scenes", "--split", "val", "--seed", 0, "--count", 1, "--out", tmp_path / "x"),
        "--split",
        "'val'",
        "test",
    )
    (tmp_path / "mine.txt").write_text("something else")
    one_line(
        glamm("scenes", "--split", "test", "--seed", 0, "--count", 1, "--out", tmp_path), "--out", "something else"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
