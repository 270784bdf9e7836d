"""Reference folders → ours and back: every key accounted for, whatever the files look like."""

import dataclasses
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared.model import convert, parts, reference, reference_config, shards, stand_in_tokenizer
from shared.model.checkpoint import CheckpointError, load_part, read_config
from shared.model.config import GlammConfig
from shared.model.tokenizer import ADDED, GlammTokenizer
from tests.reference_model import ReferenceModel
from tests.sentencepieces import train

GOLDEN = Path(__file__).parents[2] / "golden"
VOCABULARY = 320
EMBEDDINGS = "model.embed_tokens.weight"
TOWER = "model.vision_tower.vision_tower."
RELEASED_SIZES = {
    "llm": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 32007,
        "max_position_embeddings": 4096,
    },
    "clip": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 336,
        "patch_size": 14,
    },
    "sam": {
        "image_size": 1024,
        "embed_dim": 1280,
        "depth": 32,
        "num_heads": 16,
        "global_attn_indexes": [7, 15, 23, 31],
        "window_size": 14,
        "prompt_dim": 256,
        "mlp_dim": 2048,
        "iou_hidden": 256,
    },
    "region": {"query_dim": 1024},
}
Write = Callable[[dict[str, Tensor]], Path]


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "model.safetensors")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A reference folder without weights."""
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(GOLDEN / "config.json", folder)
    (folder / "tokenizer.json").write_text(stand_in_tokenizer.make(VOCABULARY))
    return folder


@pytest.fixture
def whole(source: Path) -> Path:
    shutil.copy(GOLDEN / "model.safetensors", source)
    return source


def halves(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Shards 1 and 2 of a state, cut where a layer's q, k and v come apart."""
    keys = sorted(state)
    cut = keys.index(TOWER + "vision_model.encoder.layers.5.self_attn.q_proj.weight")
    return {f"{i:05}-of-00002": {key: state[key] for key in mine} for i, mine in ((1, keys[:cut]), (2, keys[cut:]))}


def write_index(folder: Path, name: str, shards: dict[str, dict[str, Tensor]], pattern: str) -> Path:
    placed = {key: pattern.format(shard) for shard, mine in shards.items() for key in mine}
    path = folder / name
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}))
    return path


def assert_same(folder: Path, expected: dict[str, Tensor]) -> None:
    """The folder's weights are exactly the expected ones, read through ours and back."""
    convert.to_reference(folder, folder.with_name("back"))
    back = load_file(folder.with_name("back") / "model.safetensors")
    assert back.keys() == expected.keys()
    for key, tensor in expected.items():
        assert back[key].dtype == tensor.dtype, key
        assert torch.equal(back[key], tensor), key


def test_there_and_back_nothing_changes(whole: Path, golden: dict[str, Tensor], tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    told: list[tuple[int, int]] = []
    config = convert.from_reference(whole, ours, progress=lambda done, total: told.append((done, total)))
    assert told == [(n, len(told)) for n in range(1, len(told) + 1)]
    assert read_config(ours) == config
    assert GlammTokenizer.read(ours).size == VOCABULARY
    assert_same(ours, golden)
    again = reference_config.read(tmp_path / "back")
    assert (again.clip, again.region, again.sam, again.llm) == (config.clip, config.region, config.sam, config.llm)


@pytest.fixture
def with_pieces(source: Path, golden: dict[str, Tensor]) -> Path:
    """A reference folder with the tokenizer that released ones have, and embeddings of its size."""
    (source / "tokenizer.json").unlink()
    train(source / "tokenizer.model")
    size = 420 + len(ADDED)
    sizes = json.loads((source / "config.json").read_text())
    sizes["llm"]["vocab_size"] = size
    (source / "config.json").write_text(json.dumps(sizes))
    longer = {key: golden[key].repeat(2, 1)[:size].clone() for key in (EMBEDDINGS, "lm_head.weight")}
    save_file(golden | longer, source / "model.safetensors")
    return source


def test_the_tokenizers_own_files_come_back(with_pieces: Path, tmp_path: Path) -> None:
    listed = json.dumps({token: 420 + index for index, token in enumerate(ADDED)})
    (with_pieces / "added_tokens.json").write_text(listed)
    (with_pieces / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    (with_pieces / "special_tokens_map.json").write_text('{"pad_token": "<unk>"}')
    config = convert.from_reference(with_pieces, tmp_path / "ours")
    convert.to_reference(tmp_path / "ours", tmp_path / "back")
    names = {"tokenizer.model", "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json"}
    assert {path.name for path in (tmp_path / "back").iterdir()} == names | {"config.json", "model.safetensors"}
    for name in names:
        assert (tmp_path / "back" / name).read_bytes() == (with_pieces / name).read_bytes()
    assert convert.from_reference(tmp_path / "back", tmp_path / "again") == config
    assert (tmp_path / "again" / "tokenizer.json").read_text() == (tmp_path / "ours" / "tokenizer.json").read_text()


def test_added_tokens_are_listed_where_the_source_did_not(with_pieces: Path, tmp_path: Path) -> None:
    convert.from_reference(with_pieces, tmp_path / "ours")
    convert.to_reference(tmp_path / "ours", tmp_path / "back")
    listed = json.loads((tmp_path / "back" / "added_tokens.json").read_text())
    assert listed == {token: 420 + index for index, token in enumerate(ADDED)}


def test_a_tokenizer_of_other_ids_does_not_go_back(whole: Path, tmp_path: Path) -> None:
    convert.from_reference(whole, tmp_path / "ours")
    train(tmp_path / "ours" / "tokenizer.model")
    with pytest.raises(CheckpointError, match=r"ours: tokenizer.model and tokenizer.json give tokens other ids"):
        convert.to_reference(tmp_path / "ours", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_folder_that_the_reference_cannot_start_from_is_told(with_pieces: Path, tmp_path: Path) -> None:
    small, released = reference_config.read(with_pieces), GlammConfig.preset("glamm-7b")
    assert convert.why_not_started(with_pieces, small) == "the program builds the released sizes alone"
    assert convert.why_not_started(with_pieces, released) is None
    assert "tokenizer.model" in str(convert.why_not_started(tmp_path, released))
    wider = dataclasses.replace(released, llm=dataclasses.replace(released.llm, hidden=5120, heads=40))
    assert convert.why_not_started(with_pieces, wider) == "the program builds the released sizes alone"


@torch.inference_mode()
def test_converted_parts_compute_what_the_reference_did(whole: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    convert.from_reference(whole, ours)
    cpu, recorded = torch.device("cpu"), load_file(GOLDEN / "record.safetensors")
    vision = load_part(ours, "vision", parts.vision, cpu, torch.float32)
    torch.testing.assert_close(vision.clip.global_tokens(recorded["clip_pixel_values"]), recorded["global_tokens"])
    torch.testing.assert_close(vision.grounding(recorded["sam_pixel_values"]), recorded["sam_embedding"])
    lmm = load_part(ours, "llm", parts.llm, cpu, torch.float32)
    torch.testing.assert_close(lmm.projector(recorded["global_tokens"]), recorded["projected_tokens"])
    torch.testing.assert_close(lmm.logits(recorded["forced.last_hidden_state"]), recorded["forced.logits"])
    pixel = load_part(ours, "pixel", parts.pixel, cpu, torch.float32)
    torch.testing.assert_close(pixel.dense_positions(), recorded["dense_pe"])


def test_the_released_model_has_these_keys_and_no_others() -> None:
    """The complete 7B list, taken from Hugging Face's and segment-anything's own classes, without any memory."""
    with torch.device("meta"):
        expected = {key: tuple(value.shape) for key, value in ReferenceModel(RELEASED_SIZES).reference_state().items()}
    wanted = reference.weights(GlammConfig.preset("glamm-7b"))
    assert {key: weight.source_shape for weight in wanted for key in weight.sources} == expected
    assert len(expected) > 1300
    reference.account_for(expected, wanted)
    extras = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": (64,) for i in range(32)}
    extras |= {
        TOWER + "vision_model.embeddings.position_ids": (1, 577),
        "model.grounding_encoder.pixel_mean": (3, 1, 1),
    }
    reference.account_for(expected | extras, wanted)
    for key in list(expected)[::97]:
        with pytest.raises(CheckpointError, match=f"{key}: missing"):
            reference.account_for({k: shape for k, shape in expected.items() if k != key}, wanted)


def test_the_shipped_folder_has_the_keys_of_the_reference(golden: dict[str, Tensor]) -> None:
    sizes = json.loads((GOLDEN / "config.json").read_text())
    with torch.device("meta"):
        listed = {key: value.shape for key, value in ReferenceModel(sizes).reference_state().items()}
    assert {key: tensor.shape for key, tensor in golden.items() if "rotary_emb" not in key} == listed


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("indexed", [True, False])
def test_sharded_pickles(source: Path, golden: dict[str, Tensor], tmp_path: Path, indexed: bool, zipped: bool) -> None:
    made = halves(golden)
    for shard, mine in made.items():
        torch.save(mine, source / f"pytorch_model-{shard}.bin", _use_new_zipfile_serialization=zipped)
    if indexed:
        write_index(source, "pytorch_model.bin.index.json", made, "pytorch_model-{}.bin")
    convert.from_reference(source, tmp_path / "ours")
    assert_same(tmp_path / "ours", golden)


@pytest.mark.parametrize("indexed", [True, False])
def test_sharded_safetensors_are_preferred_to_pickles(
    source: Path, golden: dict[str, Tensor], tmp_path: Path, indexed: bool
) -> None:
    made = halves(golden)
    for shard, mine in made.items():
        save_file(mine, source / f"model-{shard}.safetensors")
    (source / "pytorch_model.bin").write_bytes(b"never read")
    if indexed:
        write_index(source, "model.safetensors.index.json", made, "model-{}.safetensors")
    convert.from_reference(source, tmp_path / "ours")
    assert_same(tmp_path / "ours", golden)


def test_results_are_sharded_with_an_index(
    whole: Path, golden: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "SHARD_BYTES", 300_000)
    convert.from_reference(whole, tmp_path / "ours")
    assert len(list((tmp_path / "ours").glob("llm-*.safetensors"))) > 1
    convert.to_reference(tmp_path / "ours", tmp_path / "back")
    assert len(list((tmp_path / "back").glob("model-*.safetensors"))) > 5
    monkeypatch.undo()
    convert.from_reference(tmp_path / "back", tmp_path / "again")
    shutil.rmtree(tmp_path / "back")
    assert_same(tmp_path / "again", golden)


def test_weights_keep_their_type_unless_another_is_asked_for(
    source: Path, golden: dict[str, Tensor], tmp_path: Path
) -> None:
    half = {key: tensor.bfloat16() for key, tensor in golden.items()}
    save_file(half, source / "model.safetensors")
    convert.from_reference(source, tmp_path / "kept")
    convert.from_reference(source, tmp_path / "changed", dtype=torch.float32)
    for folder, dtype in (("kept", torch.bfloat16), ("changed", torch.float32)):
        for part in parts.BUILDERS:
            stored = load_file(tmp_path / folder / f"{part}.safetensors")
            assert {tensor.dtype for tensor in stored.values()} == {dtype}
    convert.to_reference(tmp_path / "changed", tmp_path / "back", dtype=torch.bfloat16)
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert all(torch.equal(back[key], half[key]) for key in half if "rotary_emb" not in key)


def refused(source: Path, told: str, clip: Path | None = None) -> None:
    """Nothing of the result is there afterwards, not even under another name."""
    before = sorted(path.name for path in source.parent.iterdir())
    with pytest.raises(CheckpointError, match=told):
        convert.from_reference(source, source.parent / "ours", clip)
    assert sorted(path.name for path in source.parent.iterdir()) == before


def test_an_index_that_disagrees_with_its_shards(source: Path, golden: dict[str, Tensor]) -> None:
    made = halves(golden)
    for shard, mine in made.items():
        save_file(mine, source / f"model-{shard}.safetensors")
    index = write_index(source, "model.safetensors.index.json", made, "model-{}.safetensors")
    true = json.loads(index.read_text())
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    changes = [
        ({"lm_head.weight": second}, f"lm_head.weight into {second}, but it is in {first}"),
        ({"lm_head.bias": first}, f"lm_head.bias into {first}, which does not hold it"),
        ({"lm_head.weight": "../model.safetensors"}, "not a file of this folder"),
        (
            {"lm_head.weight": "model-00003-of-00002.safetensors"},
            "model-00003-of-00002.safetensors, which is not there",
        ),
    ]
    for change, told in changes:
        index.write_text(json.dumps({"weight_map": true["weight_map"] | change}))
        refused(source, told)
    del true["weight_map"]["lm_head.weight"]
    index.write_text(json.dumps(true))
    refused(source, f"{first} holds lm_head.weight, which is not in the index")
    index.write_text("[]")
    refused(source, "no weight_map")


def test_shards_that_are_missing_or_overlap(source: Path, golden: dict[str, Tensor]) -> None:
    made = halves(golden)
    first, second = (source / f"model-{shard}.safetensors" for shard in made)
    save_file(next(iter(made.values())), first)
    refused(source, "shard 2 of 2 is missing")
    save_file(golden, second)
    refused(source, "is in two shards")
    second.write_bytes(first.read_bytes()[:1000])
    refused(source, "model-00002-of-00002.safetensors is not a readable safetensors file")
    first.unlink()
    second.unlink()
    refused(source, "holds no weights")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model.surprise.weight": torch.zeros(1)}, "model.surprise.weight: no part of GLaMM has such a weight"),
        ({"model.norm.weight": None}, "model.norm.weight: missing"),
        ({"model.norm.weight": torch.zeros(65)}, r"model.norm.weight has the shape \(65,\).*ask for \(64,\)"),
        ({EMBEDDINGS: torch.zeros(VOCABULARY + 1, 64)}, EMBEDDINGS),
        ({"model.norm.weight": torch.zeros(64, dtype=torch.int8)}, "model.norm.weight holds whole numbers"),
        ({"model.norm.weight": torch.zeros(64, dtype=torch.bool)}, "model.norm.weight holds whole numbers"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_keys_are_accounted_for(
    source: Path, golden: dict[str, Tensor], name: str, changes: dict[str, Tensor | None], told: str
) -> None:
    state = {key: tensor for key, tensor in (golden | changes).items() if tensor is not None}
    if name.endswith(".bin"):
        torch.save(state, source / name)
    else:
        save_file(state, source / name)
    refused(source, told)


def test_the_tokenizer_has_to_fit_the_embeddings(whole: Path) -> None:
    (whole / "tokenizer.json").write_text(stand_in_tokenizer.make(VOCABULARY - 1))
    refused(whole, "tokenizer has 319 tokens, the embeddings of the LMM have 320")
    (whole / "tokenizer.json").write_text("{}")
    refused(whole, "tokenizer.json is not a tokenizer")
    (whole / "tokenizer.json").unlink()
    refused(whole, "no tokenizer; put LLaMA's tokenizer.model")


class Trap:
    """A pickle that makes a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused_and_not_run(
    source: Path, golden: dict[str, Tensor], tmp_path: Path
) -> None:
    sprung = tmp_path / "sprung"
    torch.save(golden | {"trap": Trap(sprung)}, source / "pytorch_model.bin")
    refused(source, "cannot be read as weights and nothing else")
    (source / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    refused(source, "cannot be read as weights and nothing else")
    assert not sprung.exists()
    torch.save({"step": 3}, source / "pytorch_model.bin")
    refused(source, "'step' is a int, not a tensor")


def test_a_clip_tower_apart(source: Path, golden: dict[str, Tensor], tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    clip.mkdir()
    (clip / "config.json").write_text("{}")
    tower = {key.removeprefix(TOWER): tensor for key, tensor in golden.items() if key.startswith(TOWER)}
    contrastive = {"logit_scale": torch.ones(()), "text_model.final_layer_norm.bias": torch.ones(8)}
    save_file({**tower, **contrastive}, clip / "model.safetensors")
    save_file({key: golden[key] for key in golden if not key.startswith(TOWER)}, source / "model.safetensors")
    refused(source, "the CLIP tower is not inside; give its own folder with --clip")
    convert.from_reference(source, tmp_path / "ours", clip)
    assert_same(tmp_path / "ours", golden)
    save_file(golden, source / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds the CLIP tower itself"):
        convert.from_reference(source, tmp_path / "other", clip)


def test_the_result_appears_whole_or_not_at_all(whole: Path, tmp_path: Path) -> None:
    def interrupted(done: int, total: int) -> None:
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert.from_reference(whole, tmp_path / "ours", progress=interrupted)
    assert list(tmp_path.iterdir()) == [whole]
    (tmp_path / "ours").mkdir()
    convert.from_reference(whole, tmp_path / "ours")
    with pytest.raises(KeyboardInterrupt):
        convert.to_reference(tmp_path / "ours", tmp_path / "back", progress=interrupted)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "ours", whole]
    with pytest.raises(CheckpointError, match="exists already"):
        convert.from_reference(whole, tmp_path / "ours")


def test_going_back_needs_a_whole_checkpoint(whole: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    convert.from_reference(whole, ours)
    state = load_file(ours / "pixel.safetensors")
    writer = shards.ShardWriter(ours, "pixel", 2**30)
    for name in [*state][1:]:
        writer.add(name, state[name])
    writer.close()
    with pytest.raises(CheckpointError, match=f"{next(iter(state))}: missing"):
        convert.to_reference(ours, tmp_path / "back")
    (ours / "pixel.safetensors").unlink()
    with pytest.raises(CheckpointError, match="part 'pixel' is missing"):
        convert.to_reference(ours, tmp_path / "back")
