"""Checkpoint folders: what they hold, what is missing from them, and what names their weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from shared.model import checkpoint, parts, stand_in_tokenizer
from shared.model.checkpoint import CheckpointError, fingerprint, load_part, read_config, read_tokenizer, save_part
from shared.model.config import GlammConfig
from shared.model.random_weights import write_random
from shared.stages.llm import LlmStage
from tests.tiny import TINY, byte_tokenizer

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_random(tmp_path, TINY, byte_tokenizer().to_str())
    return tmp_path


def load(folder: Path, part: str) -> nn.Module:
    return load_part(folder, part, parts.BUILDERS[part], CPU, torch.float32)


@pytest.mark.parametrize("part", parts.BUILDERS)
def test_a_part_comes_back_as_it_was_saved(folder: Path, part: str) -> None:
    loaded = load(folder, part)
    stored = load_file(folder / f"{part}.safetensors")
    assert loaded.state_dict().keys() == stored.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, stored[name].to(tensor.dtype)), name
    assert not loaded.training
    assert not any(buffer.is_meta for buffer in loaded.buffers())


def test_a_loaded_llm_computes_what_a_built_one_does(folder: Path) -> None:
    """Rotary frequencies are in no file; a part loaded without them would still run, and be wrong."""
    loaded = load(folder, "llm")
    built = parts.llm(TINY).eval()
    built.load_state_dict(loaded.state_dict())
    embeddings = torch.randn(1, 40, TINY.llm.hidden)
    assert torch.equal(loaded.states(embeddings), built.states(embeddings))


def test_big_parts_are_split_into_shards(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load(folder, "llm").state_dict()
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 20_000)
    save_part(folder, "llm", whole)
    assert len(list(folder.glob("llm-*.safetensors"))) > 1
    assert not (folder / "llm.safetensors").exists()
    for name, tensor in load(folder, "llm").state_dict().items():
        assert torch.equal(tensor, whole[name])


def test_a_missing_shard_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 20_000)
    save_part(folder, "llm", load(folder, "llm").state_dict())
    next(folder.glob("llm-00002-*.safetensors")).unlink()
    with pytest.raises(CheckpointError, match="shard 2 of"):
        load(folder, "llm")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("text_projection.0.bias"), "lacks the weights text_projection.0.bias"),
        (lambda state: state.update(surprise=torch.zeros(1)), "unknown weight 'surprise'"),
        (lambda state: state.update({"text_projection.0.bias": torch.zeros(3)}), r"has shape \(3,\)"),
        (
            lambda state: state.update({"text_projection.0.bias": state["text_projection.0.bias"].int()}),
            r"'text_projection\.0\.bias' holds whole numbers",
        ),
    ],
)
def test_every_key_is_accounted_for(folder: Path, change: object, message: str) -> None:
    path = folder / "llm.safetensors"
    state = load_file(path)
    assert callable(change)
    change(state)
    save_file(state, path, metadata={"sha256": "0"})
    with pytest.raises(CheckpointError, match=message):
        load(folder, "llm")


def test_a_damaged_file_is_named(folder: Path) -> None:
    path = folder / "pixel.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"pixel\.safetensors is not a readable"):
        load(folder, "pixel")


def test_a_folder_without_config_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        read_config(tmp_path)


def test_a_config_names_what_is_wrong_with_it(folder: Path) -> None:
    (folder / "config.json").write_text('{"clip": {}}')
    with pytest.raises(CheckpointError, match="section 'clip'"):
        read_config(folder)


def test_the_fingerprint_follows_the_weights(folder: Path) -> None:
    before = fingerprint(folder)
    state = load(folder, "pixel").state_dict()
    save_part(folder, "pixel", state)
    assert fingerprint(folder) == before
    next(iter(state.values())).add_(1)
    save_part(folder, "pixel", state)
    assert fingerprint(folder) != before


@pytest.mark.parametrize("name", ["glamm-7b", "glamm-scenes"])
def test_shipped_configurations_survive_their_file(name: str, tmp_path: Path) -> None:
    config = GlammConfig.preset(name)
    (tmp_path / "config.json").write_text(config.to_json())
    assert read_config(tmp_path) == config


def test_the_released_shape_has_seven_billion_parameters() -> None:
    """Sizes on the meta device: CLIP 0.3, LLaMA 6.7 and SAM 0.6 billion, and the region encoder's 0.25."""
    config = GlammConfig.preset("glamm-7b")
    with torch.device("meta"):
        counts = {name: sum(p.numel() for p in build(config).parameters()) for name, build in parts.BUILDERS.items()}
    assert 6.7e9 < counts["llm"] < 6.8e9
    assert 1.1e9 < counts["vision"] < 1.25e9
    assert 4.0e6 < counts["pixel"] < 4.1e6


def test_a_vocabulary_that_does_not_fit_is_refused_before_any_weight_is_read(folder: Path) -> None:
    (folder / "llm.safetensors").unlink()
    (folder / "tokenizer.json").write_text(stand_in_tokenizer.make(TINY.llm.vocab_size + 1))
    with pytest.raises(CheckpointError, match=r"has 267 tokens, config\.json says 266"):
        LlmStage.load(folder, CPU)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be used"):
        read_tokenizer(folder)
    (folder / "tokenizer.json").unlink()
    for read in (read_tokenizer, fingerprint):
        with pytest.raises(CheckpointError, match=r"has no tokenizer\.json"):
            read(folder)


def test_shards_of_two_savings_are_refused(folder: Path) -> None:
    state = load_file(folder / "pixel.safetensors")
    for index in (1, 2):
        save_file(state, folder / f"pixel-0000{index}-of-00002.safetensors")
    with pytest.raises(CheckpointError, match="do not belong together"):
        load(folder, "pixel")
    (folder / "pixel.safetensors").unlink()
    with pytest.raises(CheckpointError, match="in an earlier shard already"):
        load(folder, "pixel")


@pytest.mark.parametrize(
    ("section", "change", "told"),
    [
        ("llm", {"heads": "many"}, "heads is 'many'"),
        ("llm", {"hidden": 0}, "hidden is 0"),
        ("clip", {"width": 64.5}, r"width is 64\.5"),
        ("region", {"levels": [-1, "x"]}, "levels is"),
        ("sam", {"colour": 1}, "colour"),
        ("clip", {"heads": 5}, r"width \(64\) is not a multiple of heads \(5\)"),
        ("sam", {"heads": 3}, r"width \(32\) is not a multiple of heads \(3\)"),
        ("sam", {"prompt_dim": 40}, r"prompt_dim \(40\) is not a multiple of 2 × decoder_heads \(16\)"),
        ("llm", {"heads": 5}, r"hidden \(32\) is not a multiple of 2 × heads \(10\)"),
        ("llm", {"hidden": 34}, r"hidden \(34\) is not a multiple of 2 × heads \(4\)"),
        ("clip", {"select_layer": -6}, "there is no -6; a CLIP tower of 4 layers has the hidden states -5 to -1"),
        ("clip", {"select_layer": 0}, "there is no 0"),
        ("region", {"levels": [-1, -2, -3, -7]}, "there is no -7"),
    ],
)
def test_sizes_that_cannot_be_are_named(folder: Path, section: str, change: dict[str, object], told: str) -> None:
    sizes = json.loads(TINY.to_json())
    sizes[section] |= change
    (folder / "config.json").write_text(json.dumps(sizes))
    with pytest.raises(CheckpointError, match=f"section '{section}': .*{told}"):
        read_config(folder)


def test_a_fraction_may_be_written_as_a_whole_number(folder: Path) -> None:
    sizes = json.loads(TINY.to_json())
    sizes["llm"] |= {"norm_eps": 1, "rope_base": 10000}
    (folder / "config.json").write_text(json.dumps(sizes))
    assert load(folder, "llm").config.norm_eps == 1.0


def test_sizes_that_do_not_fit_together_make_no_part(folder: Path) -> None:
    (folder / "config.json").write_text(TINY.to_json().replace('"width": 64', '"width": 96'))
    with pytest.raises(CheckpointError, match="make no vision part"):
        load(folder, "vision")
