"""`glamm parity`, `convert` and `init`, as they are typed."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from shared.model import stand_in_tokenizer
from shared.model.checkpoint import read_config
from shared.stages.glamm import Glamm
from tests.tiny import TINY

from .conftest import PATIENCE

GOLDEN = Path(__file__).parents[1] / "golden"
Glamm_ = Callable[..., tuple[int, str, str]]


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


def test_parity_shows_a_line_a_step(glamm: Glamm_) -> None:
    code, out, _ = glamm("parity", GOLDEN)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "step"
    assert lines[-2] == "27 of 27 steps hold"
    assert all(line.endswith(" ok") for line in lines[1:-2])
    (masks,) = [line for line in lines if line.startswith("forced.mask_logits ")]
    assert "2 × 200 × 312" in masks
    assert "loss.ce_loss" in lines[-1]


def test_parity_says_what_its_errors_are(glamm: Glamm_) -> None:
    _, out, _ = glamm("parity", "--help")
    assert "the rel. error is that over the step's largest value" in " ".join(out.split())


def test_parity_says_which_step_does_not_hold(glamm: Glamm_, golden: Path) -> None:
    record = load_file(golden / "record.safetensors")
    record["region_tokens"][0, 0] += 1
    save_file(record, golden / "record.safetensors")
    code, out, _ = glamm("parity", golden)
    assert code == 1
    failed = [line.split()[0] for line in out.splitlines() if line.endswith(" NO")]
    # The forced pass reads the recorded tokens, so it no longer gives the recorded states.
    assert failed == ["region_tokens", "forced.last_hidden_state"]
    assert "25 of 27 steps hold" in out


def one_line(told: tuple[int, str, str], *named: str) -> None:
    code, out, err = told
    assert code == 2
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("glamm: ")
    for name in named:
        assert name in line


def test_an_unusable_folder_is_one_line(glamm: Glamm_, golden: Path, tmp_path: Path) -> None:
    one_line(glamm("parity", tmp_path / "nowhere"), "DIR: ", "nowhere", "config.json", "Name a folder with")
    one_line(glamm("parity", GOLDEN / "config.json"), "config.json")
    (golden / "record.safetensors").unlink()
    one_line(glamm("parity", golden), "record.safetensors")
    (golden / "model.safetensors").write_bytes(b"")
    one_line(glamm("parity", golden), "model.safetensors")
    sizes = (golden / "config.json").read_text()
    (golden / "config.json").write_text(sizes.replace('"num_attention_heads": 4', '"num_attention_heads": 3'))
    for command in (("parity", golden), ("convert", golden, tmp_path / "made")):
        one_line(glamm(*command), "config.json", "width (64) is not a multiple of heads (3)")
    (golden / "config.json").write_text("[")
    one_line(glamm("parity", golden), "config.json")
    one_line(glamm("convert", golden, tmp_path / "made"), "config.json")
    one_line(glamm("convert", GOLDEN, tmp_path / "made"), "SRC: ", "no tokenizer", "docs/released-weights.md")
    one_line(glamm("convert", "--to-reference", GOLDEN, tmp_path / "made"), "config.json", "hidden_size")
    one_line(glamm("convert", "--to-reference", "--clip", golden, golden, tmp_path / "made"), "--clip")
    one_line(glamm("convert", GOLDEN, tmp_path / "made", "--dtype", "int8"), "--dtype")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["golden"]


def test_convert_there_and_back(glamm: Glamm_, golden: Path, tmp_path: Path) -> None:
    (golden / "tokenizer.json").write_text(stand_in_tokenizer.make(320))
    code, out, _ = glamm("convert", golden, tmp_path / "ours", "--dtype", "bfloat16")
    assert (code, out) == (0, f"{tmp_path / 'ours'} holds golden, 0.00 GiB\n")
    code, out, _ = glamm("convert", tmp_path / "ours", tmp_path / "back", "--to-reference")
    assert code == 0
    assert "cannot start from it: the program builds the released sizes alone." in out
    expected = load_file(golden / "model.safetensors")
    for key, tensor in load_file(tmp_path / "back" / "model.safetensors").items():
        torch.testing.assert_close(tensor.float(), expected[key].bfloat16().float(), atol=1e-2, rtol=1e-2)
    one_line(glamm("convert", golden, tmp_path / "ours"), "DST: ", "ours exists already", "Name a new folder")
    (tmp_path / "file").touch()
    one_line(glamm("convert", golden, tmp_path / "file" / "ours"), "DST: ", "cannot be made: Not a directory")


def test_init_makes_a_checkpoint_that_answers(glamm: Glamm_, tmp_path: Path) -> None:
    sizes = tmp_path / "sizes.json"
    sizes.write_text(TINY.to_json())
    for folder, seed in (("one", 3), ("same", 3), ("other", 4)):
        arguments = ("--config", sizes, "--random", "--seed", seed, "--device", "cpu", "--dtype", "float32")
        assert glamm("init", tmp_path / folder, *arguments)[0] == 0
    assert read_config(tmp_path / "one") == TINY
    one, same, other = (load_file(tmp_path / name / "llm.safetensors") for name in ("one", "same", "other"))
    key = "llama.lm_head.weight"
    assert torch.equal(one[key], same[key])
    assert not torch.equal(one[key], other[key])
    assert Glamm.load(tmp_path / "one").llm.tokenizer.size == TINY.llm.vocab_size
    one_line(glamm("init", tmp_path / "one", "--config", sizes, "--random"), "DST: ", "one exists already")


def test_init_says_what_it_cannot_do(glamm: Glamm_, tmp_path: Path) -> None:
    made = tmp_path / "made"
    one_line(glamm("init", made, "--config", "glamm-scenes"), "--random", "glamm convert")
    one_line(glamm("init", made, "--config", "glamm-9b", "--random"), "glamm-9b", "glamm-7b, glamm-scenes")
    one_line(glamm("init", made, "--config", "glamm-scenes", "--random", "--device", "cuda:63"), "cuda:63")
    (tmp_path / "small.json").write_text(TINY.to_json().replace('"vocab_size": 266', '"vocab_size": 100'))
    one_line(glamm("init", made, "--config", tmp_path / "small.json", "--random"), "vocabulary of 100", "vocab_size")
    (tmp_path / "small.json").write_text('{"clip": 3}')
    one_line(glamm("init", made, "--config", tmp_path / "small.json", "--random"), "small.json", "clip")
    (tmp_path / "small.json").write_text(TINY.to_json().replace('"heads": 2', '"heads": 5'))
    one_line(
        glamm("init", made, "--config", tmp_path / "small.json", "--random"), "--config: ", "multiple of heads (5)"
    )
    (tmp_path / "small.json").write_text(TINY.to_json().replace('"width": 64', '"width": 96'))
    one_line(
        glamm("init", made, "--config", tmp_path / "small.json", "--random", "--device", "cpu"), "--config: ", "vision"
    )
    assert not made.exists()


@pytest.fixture
def making(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """The command while it makes a model of very many layers, of which nothing may be left at the end."""
    sizes = tmp_path / "sizes.json"
    sizes.write_text(TINY.to_json().replace('"layers": 2', '"layers": 1000'))
    command = [sys.executable, "-m", "services.cli", "init", str(tmp_path / "made"), "--config", str(sizes), "--random"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        while not list(tmp_path.glob(".made.*")):
            assert running.poll() is None, running.stderr.read()
            time.sleep(0.05)
        yield running
        assert running.stderr.read() == ""
    assert list(tmp_path.iterdir()) == [sizes]


def test_an_ended_command_leaves_nothing(making: "subprocess.Popen[str]") -> None:
    making.send_signal(signal.SIGTERM)
    assert making.wait(PATIENCE) == 130


def test_a_command_that_is_interrupted_again_and_again_leaves_nothing(making: "subprocess.Popen[str]") -> None:
    while making.poll() is None:
        making.send_signal(signal.SIGINT)
        time.sleep(0.005)
    # Once all is cleaned up, an interrupt may end the process before it exits by itself.
    assert making.returncode in (130, -signal.SIGINT)
