"""`glamm train` as a user runs it: in its own process, in bfloat16, on from a checkpoint, and with wrong input."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.main import main
from shared.model.random_weights import write_random
from shared.stages.glamm import Glamm
from tests.tiny import TINY, byte_tokenizer

TUNING = """
output: {folder}/out
model: {{checkpoint: {folder}/base}}
data: [{{kind: scenes, count: 4}}]
trained:
  lora: {{dropout: 0.05}}
  parts: [lm_head, embed_tokens, mask_decoder, text_projection, region_encoder]
schedule: {{steps: 2, warmup: 0}}
batch: {{per_device: 2, accumulation: 1, workers: 1}}
precision: bfloat16
gradient_checkpointing: true
device: cpu
validation:
  every: 2
  data: [{{kind: scenes, split: test, count: 2}}]
  captions: 1
  max_new_tokens: 8
"""


def test_fine_tuning_in_half_precision(tmp_path: Path) -> None:
    write_random(tmp_path / "base", TINY, byte_tokenizer().to_str())
    config = tmp_path / "tuning.yaml"
    config.write_text(TUNING.format(folder=tmp_path))
    command = [sys.executable, "-m", "services.cli", "train", str(config), "--output", str(tmp_path / "elsewhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first.endswith("in 2 steps")
    assert "validation miou" in done.stdout
    assert last == f"the checkpoint is {tmp_path / 'elsewhere' / 'checkpoint'}"
    assert Glamm.load(tmp_path / "elsewhere" / "checkpoint")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("output: out\nspeed: 3\n", "model: "),
        (None, "No such file"),
    ],
)
def test_a_wrong_config_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    says: str,
) -> None:
    path = tmp_path / "training.yaml"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(sys, "argv", ["glamm", "train", str(path)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("glamm: ")
    assert says in line
