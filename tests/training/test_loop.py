"""Whole trainings of a tiny model on composed scenes: they learn, go on where they stopped, and end in a checkpoint."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from shared.errors import InvalidInput
from shared.model import parts
from shared.model.checkpoint import load_part
from shared.stages.glamm import Glamm
from training.batches import Batch
from training.config import TrainingConfig
from training.loop import Training, fit
from training.scene_sets import SceneSet, write
from training.trained import merged_state

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
SMOKE = CONFIGS / "smoke.yaml"
LORA = {"r": 4, "alpha": 8, "dropout": 0.3, "targets": ["q_proj", "v_proj"]}
PAPER_PARTS = ["lm_head", "embed_tokens", "mask_decoder", "text_projection", "region_encoder"]


pytestmark = pytest.mark.usefixtures("_one_thread")


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped configs' paths count from there."""
    monkeypatch.chdir(CONFIGS.parents[1])


def smoke(output: Path, **changes: Any) -> TrainingConfig:
    """The smoke run's config with other sections."""
    content = yaml.safe_load(SMOKE.read_text()) | {"output": str(output)} | changes
    return TrainingConfig.checked(SMOKE, content)


def short(output: Path, **changes: Any) -> TrainingConfig:
    """Four steps of two batches each, of what the paper trains."""
    defaults = {
        "schedule": {"steps": 4, "warmup": 1},
        "batch": {"per_device": 2, "accumulation": 2, "max_length": 512, "workers": 0},
        "trained": {"lora": LORA, "parts": PAPER_PARTS},
        "validation": None,
        "save_every": 2,
    }
    return smoke(output, **defaults | changes)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    cpu = torch.device("cpu")
    return {
        f"{part}.{name}": tensor
        for part, build in parts.BUILDERS.items()
        for name, tensor in load_part(folder, part, build, cpu, torch.float32).state_dict().items()
    }


def test_the_smoke_run_learns(tmp_path: Path) -> None:
    """And its checkpoint is one that the service's stages load and answer with."""
    outcome = fit(smoke(tmp_path))
    start, end = sum(outcome.losses[:3]) / 3, sum(outcome.losses[-3:]) / 3
    assert end < 0.8 * start
    assert outcome.validation["loss"] < outcome.losses[0]
    assert 0 <= outcome.validation["miou"] <= 1
    assert list((tmp_path / "logs").glob("events.*"))
    glamm = Glamm.load(outcome.checkpoint)
    glamm.llm.max_new_tokens = 8
    assert glamm.annotate(Image.new("RGB", (80, 60), "teal")).raw_texts


class Stopped(Training):
    """Stops in its fourth step, after the state of the second was saved."""

    def _step(self, step: int, batches: Iterator[Batch]) -> dict[str, float]:
        if step == 3:
            raise KeyboardInterrupt
        return super()._step(step, batches)


def test_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """With dropout, accumulation and a falling rate, the weights and losses are the same to the last bit."""
    through = fit(short(tmp_path / "through"))
    with pytest.raises(KeyboardInterrupt):
        Stopped(short(tmp_path / "stopped")).run()
    resumed = fit(short(tmp_path / "stopped"))
    assert resumed.losses == through.losses[2:]
    expected = torch.load(tmp_path / "through" / "state.pt", weights_only=True)
    found = torch.load(tmp_path / "stopped" / "state.pt", weights_only=True)
    assert expected["trained"].keys() == found["trained"].keys()
    for name, tensor in expected["trained"].items():
        assert torch.equal(tensor, found["trained"][name]), name
    written = weights(resumed.checkpoint)
    for name, tensor in weights(through.checkpoint).items():
        assert torch.equal(tensor, written[name]), name


def test_the_papers_parts_learn_and_nothing_else(tmp_path: Path) -> None:
    """From a checkpoint on: the adapters end up in the LLM's own weights, under their own names."""
    base = fit(short(tmp_path / "base", schedule={"steps": 1})).checkpoint
    training = Training(short(tmp_path / "tuned", model={"checkpoint": str(base)}, schedule={"steps": 2}))
    tuned = training.run()
    before, after = weights(base), weights(tuned.checkpoint)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    expected = (
        "llm.llama.lm_head",
        "llm.llama.model.embed_tokens",
        "llm.text_projection",
        "pixel.mask_decoder",
        "vision.region",
    )
    adapted = {name for name in moved if name.startswith("llm.llama.model.layers.")}
    assert adapted
    assert all(".q_proj." in name or ".v_proj." in name for name in adapted)
    assert {name for name in moved - adapted if not name.startswith(expected)} == set()
    for prefix in expected:
        assert any(name.startswith(prefix) for name in moved), prefix


def test_merged_adapters_compute_what_they_did_beside_the_weights(tmp_path: Path) -> None:
    network = Training(short(tmp_path)).network.eval()
    plain = parts.llm(network.config)
    plain.load_state_dict(merged_state(network.lmm))
    embeddings = torch.randn(1, 7, network.config.llm.hidden)
    with torch.no_grad():
        untouched = plain.states(embeddings)
        assert torch.equal(untouched, network.lmm.states(embeddings))
        for name, parameter in network.lmm.named_parameters():
            if "lora_" in name:
                parameter.normal_()
        adapted = network.lmm.states(embeddings)
        plain.load_state_dict(merged_state(network.lmm))
        assert torch.allclose(plain.states(embeddings), adapted, atol=1e-4)
    assert not torch.allclose(untouched, adapted, atol=1e-1)


@pytest.mark.slow
def test_processes_share_out_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with a batch each learn what one learns from two batches, to the last bit."""
    # What `accelerate launch` sets must not undo the config's accumulation.
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    trained = {"lora": LORA | {"dropout": 0.0}, "parts": PAPER_PARTS}
    alone = short(tmp_path / "alone", trained=trained)
    both = short(tmp_path / "both", trained=trained, batch=alone.batch.model_dump() | {"accumulation": 1})
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(both.model_dump(mode="json")))
    fit(alone)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*command, "-m", "services.cli", "train", str(tmp_path / "both.yaml")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
    )
    expected, found = weights(tmp_path / "alone" / "checkpoint"), weights(tmp_path / "both" / "checkpoint")
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_a_finished_run_has_nothing_left_to_do_and_another_is_refused(tmp_path: Path) -> None:
    assert len(fit(short(tmp_path, schedule={"steps": 1})).losses) == 1
    assert fit(short(tmp_path, schedule={"steps": 1})).losses == ()
    with pytest.raises(InvalidInput, match="holds a run whose optimiser differ"):
        fit(short(tmp_path, schedule={"steps": 2}, optimiser={"rate": 1.0}))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_is_missing_ends_the_run_with_its_record(tmp_path: Path, workers: int) -> None:
    list(write(SceneSet("train", 0, 2), tmp_path / "set", side=64))
    (tmp_path / "set" / "images" / "train_0000001.png").unlink()
    files = {"annotations": str(tmp_path / "set" / "annotations.json"), "images": str(tmp_path / "set" / "images")}
    batch = {"per_device": 8, "accumulation": 1, "max_length": 512, "workers": workers}
    with pytest.raises(InvalidInput, match=r"record 1: .*train_0000001\.png is no readable picture"):
        fit(short(tmp_path, data=[{"kind": "grandf"} | files], batch=batch))


def test_a_state_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"nothing")
    with pytest.raises(InvalidInput, match="no training's state"):
        Training(short(tmp_path))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": {"checkpoint": "nowhere"}}, "model"),
        ({"trained": {"lora": LORA | {"targets": ["w_proj"]}}}, "trained.lora.targets"),
        ({"data": [{"kind": "grandf", "annotations": "nowhere.json", "images": "."}]}, "data"),
    ],
)
def test_what_cannot_be_trained_is_named(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Training(smoke(tmp_path, **changes))
    assert caught.value.field == field
