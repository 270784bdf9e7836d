"""A reference's config.json in both of its layouts: read, written, and refused where GLaMM computes something else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from shared.model import reference_config, stand_in_tokenizer
from shared.model.checkpoint import CheckpointError
from shared.model.config import GlammConfig
from shared.model.tokenizer import GlammTokenizer

GOLDEN = Path(__file__).parents[2] / "golden"
RELEASED_CONFIG = {
    "architectures": ["GLaMMForCausalLM"],
    "bbox_token_idx": 32002,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "max_position_embeddings": 4096,
    "mm_hidden_size": 1024,
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "openai/clip-vit-large-patch14-336",
    "model_type": "llava",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "num_level_reg_features": 4,
    "out_dim": 256,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 32007,
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder whose config.json is by section."""
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(GOLDEN / "config.json", folder)
    return folder


def test_the_released_config_is_read_and_written(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(RELEASED_CONFIG))
    read = reference_config.read(tmp_path)
    released = GlammConfig.preset("glamm-7b")
    assert (read.clip, read.region, read.sam, read.llm) == (released.clip, released.region, released.sam, released.llm)
    (tmp_path / "tokenizer.json").write_text(stand_in_tokenizer.make(32007))
    written = reference_config.write(read, GlammTokenizer.read(tmp_path))
    shared = {key: written[key] for key in RELEASED_CONFIG if key in written}
    assert shared == {key: RELEASED_CONFIG[key] for key in shared}
    assert len(shared) > 15
    # What the reference's program asks for besides, as it starts.
    assert written["vision_tower"] == written["mm_vision_tower"]
    assert written["mm_vision_select_feature"] == "patch"
    assert written["mm_use_im_start_end"] is written["with_region"] is written["train_mask_decoder"] is True
    assert written["tokenizer_class"] == "LlamaTokenizer"
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert reference_config.read(tmp_path) == read


def test_a_config_that_a_newer_library_wrote_is_read(tmp_path: Path) -> None:
    newer = {
        "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
        "rope_theta": None,
        "rope_scaling": None,
    }
    (tmp_path / "config.json").write_text(json.dumps(RELEASED_CONFIG | newer))
    assert reference_config.read(tmp_path).llm.rope_base == 5000.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"num_key_value_heads": 8}, "num_key_value_heads"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling"),
        ({"mm_vision_tower": "openai/clip-vit-huge"}, "--clip"),
        ({"hidden_size": None}, "lacks 'hidden_size'"),
        ({"num_level_reg_features": 3}, "num_level_reg_features"),
        (
            {"num_attention_heads": 33, "num_key_value_heads": 33},
            r"hidden \(4096\) is not a multiple of 2 × heads \(66",
        ),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; only 'silu'"),
        ({"rope_parameters": {"rope_type": "linear"}}, r"rope_parameters\.rope_type is 'linear'; only 'default'"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings"),
        ({"mm_projector_type": "linear"}, "mm_projector_type"),
        ({"mm_vision_select_feature": "cls_patch"}, "mm_vision_select_feature is 'cls_patch'; only 'patch'"),
        ({"with_region": False}, "with_region is False"),
        ({"mm_vision_select_layer": 30}, "mm_vision_select_layer is 30, but a CLIP tower of 24 layers"),
        ({"mm_vision_select_layer": -26}, "mm_vision_select_layer is -26, .* 0 to 24, or -25 to -1 from the end"),
        ({"mm_vision_select_layer": "last"}, "mm_vision_select_layer is 'last'"),
        ({"mm_vision_select_layer": 3}, "has no hidden state -31"),
    ],
)
def test_a_config_of_another_model_is_refused(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    changed = {
        key: value for key, value in (RELEASED_CONFIG | change).items() if key == "rope_scaling" or value is not None
    }
    (tmp_path / "config.json").write_text(json.dumps(changed))
    with pytest.raises(CheckpointError, match=told):
        reference_config.read(tmp_path)


@pytest.mark.parametrize(
    ("section", "change", "told"),
    [
        ("clip", {"hidden_act": "gelu"}, r"clip\.hidden_act is 'gelu'; only 'quick_gelu'"),
        ("clip", {"layer_norm_eps": 1e-6}, r"clip\.layer_norm_eps is 1e-06; only 1e-05"),
        ("clip", {"num_attention_heads": 3}, r"width \(64\) is not a multiple of heads \(3\)"),
        ("llm", {"hidden_act": "relu"}, r"llm\.hidden_act"),
        ("llm", {"rope_scaling": {"type": "linear", "factor": 2.0}}, r"llm\.rope_scaling"),
        ("llm", {"tie_word_embeddings": True}, r"llm\.tie_word_embeddings"),
        ("llm", {"num_key_value_heads": 2}, r"llm\.num_key_value_heads is 2; only 4"),
        ("llm", {"num_attention_heads": 3}, r"hidden \(64\) is not a multiple of 2 × heads \(6\)"),
        (None, {"projector": "linear"}, "projector is 'linear'; only 'mlp2x_gelu'"),
        (None, {"select_layer": 40}, "select_layer is 40, but a CLIP tower of 12 layers"),
        (None, {"select_layer": -14}, "select_layer is -14"),
    ],
)
def test_a_config_by_section_of_another_model_is_refused(
    section: str | None, change: dict[str, Any], told: str, source: Path
) -> None:
    sizes = json.loads((source / "config.json").read_text())
    (sizes if section is None else sizes[section]).update(change)
    (source / "config.json").write_text(json.dumps(sizes))
    with pytest.raises(CheckpointError, match=told):
        reference_config.read(source)


def test_settings_that_change_nothing_are_accepted(source: Path) -> None:
    before = reference_config.read(source)
    sizes = json.loads((source / "config.json").read_text())
    sizes["clip"] |= {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "dropout": 0.0, "projection_dim": 512}
    sizes["llm"] |= {"hidden_act": "silu", "rope_scaling": None, "rope_theta": 10000, "use_cache": True}
    (source / "config.json").write_text(json.dumps(sizes | {"image_token_index": -200, "select_layer": 11}))
    assert reference_config.read(source) == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; only 'quick_gelu'"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06"),
        ({"num_attention_heads": 7}, "is of no CLIP: .* not a multiple of the number of attention heads"),
    ],
)
def test_a_tower_apart_of_another_model_is_refused(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(RELEASED_CONFIG))
    (tmp_path / "clip" / "config.json").write_text(json.dumps({"model_type": "clip_vision_model", **change}))
    with pytest.raises(CheckpointError, match=told):
        reference_config.read(tmp_path, tmp_path / "clip")
