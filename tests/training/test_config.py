"""The YAML of a training: shipped files are right, and what is wrong in one is named."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.errors import InvalidInput
from training.config import TrainingConfig
from training.schedule import rate_share

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
SMALLEST: dict[str, Any] = {
    "output": "out/x",
    "model": {"preset": "glamm-scenes"},
    "data": [{"kind": "scenes", "count": 3}],
    "trained": {"parts": ["lm_head"]},
    "schedule": {"steps": 10},
}


def checked(**changes: Any) -> TrainingConfig:
    return TrainingConfig.checked(Path("training.yaml"), SMALLEST | changes)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configs_are_right(path: Path) -> None:
    assert TrainingConfig.read(path).data


def test_the_7b_config_is_the_papers() -> None:
    config = TrainingConfig.read(CONFIGS / "glamm-7b-grandf.yaml")
    assert config.trained.lora is not None
    assert config.trained.lora.model_dump() == {"r": 8, "alpha": 16, "dropout": 0.05, "targets": ["q_proj", "v_proj"]}
    assert set(config.trained.parts) == {
        "lm_head",
        "embed_tokens",
        "mask_decoder",
        "text_projection",
        "region_encoder",
    }
    assert (config.optimiser.rate, config.optimiser.betas) == (3e-4, (0.9, 0.95))
    assert config.losses.model_dump() == {"text": 1.0, "bce": 2.0, "dice": 0.5}
    assert [source.rate for source in config.data] == [1, 3, 3, 3, 1]


def test_defaults_fill_what_is_not_said() -> None:
    config = checked()
    assert config.optimiser.clip_norm == 1.0
    assert config.validation is None


def test_a_rate_without_a_point_is_a_number() -> None:
    """YAML itself reads `3e-4` as text."""
    assert checked(optimiser=yaml.safe_load("rate: 3e-4")).optimiser.rate == 3e-4


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"speed": 3}, "speed"),
        ({"schedule": {"steps": "ten"}}, "schedule.steps"),
        ({"schedule": {"steps": 0}}, "schedule.steps"),
        ({"optimiser": {"rate": -1}}, "optimiser.rate"),
        ({"optimiser": {"betas": [0.9]}}, "optimiser.betas.1"),
        ({"trained": {"parts": ["head"]}}, "trained.parts"),
        ({"trained": {}}, "trained"),
        ({"trained": {"lora": {}, "parts": ["llm"]}}, "trained"),
        ({"model": {}}, "model"),
        ({"model": {"preset": "glamm-7b", "checkpoint": "x"}}, "model"),
        ({"data": []}, "data"),
        ({"data": [{"kind": "grandf", "images": "x"}]}, "data.0.grandf.annotations"),
        ({"data": [{"kind": "coco"}]}, "data.0"),
        ({"batch": {"per_device": True}}, "batch.per_device"),
    ],
)
def test_the_field_at_fault_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=r"training\.yaml: ") as caught:
        checked(**changes)
    assert caught.value.field is not None
    assert caught.value.field.startswith(field)


def test_a_file_that_is_not_there_or_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        TrainingConfig.read(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(InvalidInput, match="is not YAML"):
        TrainingConfig.read(tmp_path / "broken.yaml")


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_the_rate_rises_and_falls_to_nothing(decay: str) -> None:
    schedule = checked(schedule={"steps": 100, "warmup": 10, "decay": decay}).schedule
    shares = [rate_share(schedule, step) for step in range(101)]
    assert shares[10] == 1.0
    assert shares[:11] == sorted(shares[:11])
    assert shares[0] > 0
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[100] == pytest.approx(0, abs=1e-9)


def test_a_constant_rate_stays() -> None:
    schedule = checked(schedule={"steps": 100, "warmup": 0, "decay": "constant"}).schedule
    assert {rate_share(schedule, step) for step in range(100)} == {1.0}
