"""`glamm scenes`: a set of composed scenes with its ground truth."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import PATIENCE, Run


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


def test_a_folder_that_cannot_be_made_is_one_line(command: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = command("scenes", "--split", "test", "--seed", 0, "--count", 1, "--out", tmp_path / "file" / "set")
    assert (run.code, run.out, len(run.err.splitlines())) == (2, "", 1)
    assert "--out" in run.err


def test_an_ended_command_leaves_nothing(tmp_path: Path) -> None:
    options = ["--split", "test", "--seed", "0", "--count", "100000", "--out", str(tmp_path / "set")]
    command = [sys.executable, "-m", "services.cli", "scenes", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        while not list(tmp_path.glob(".set.*/images/*.png")):
            assert running.poll() is None, running.stderr.read()
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE) == 130
    assert list(tmp_path.iterdir()) == []
