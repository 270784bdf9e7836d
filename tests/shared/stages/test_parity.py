"""The model against what the reference recorded: the shipped folder, and folders of many other sizes."""

import copy
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared.model.checkpoint import CheckpointError
from shared.stages.golden import INPUTS
from shared.stages.parity import compare, replay
from tests.reference_model import IMAGE, ReferenceModel, Sizes, randomise, record

GOLDEN = Path(__file__).parents[2] / "golden"
SHIPPED: Sizes = json.loads((GOLDEN / "config.json").read_text())
STEPS = {"global_tokens", "projected_tokens", "region_tokens", "sam_embedding", "forced.logits", "greedy.output_ids"}


def test_every_step_of_the_shipped_folder_holds() -> None:
    replayed = replay(GOLDEN)
    recorded = load_file(GOLDEN / "record.safetensors").keys() - INPUTS
    assert {row.step for row in replayed.rows} | {*replayed.left_out} == recorded
    assert [row for row in replayed.rows if not row.ok] == []
    assert max(row.absolute for row in replayed.rows) < 1e-5


def test_the_recorder_of_these_tests_does_what_the_reference_did(tmp_path: Path) -> None:
    model = ReferenceModel(SHIPPED)
    model.load_reference(load_file(GOLDEN / "model.safetensors"))
    expected = load_file(GOLDEN / "record.safetensors")
    pixels = expected["clip_pixel_values"], expected["sam_pixel_values"], expected["boxes_normalized"]
    ids = expected["forced.input_ids"][0], expected["greedy.input_ids"][0]
    made = record(model, tmp_path, *pixels, *ids, steps=24)
    assert made.keys() == {name for name in expected if not name.startswith("loss.")}
    for name, tensor in made.items():
        assert compare(name, expected[name], tensor).ok, name


def varied(**sections: dict[str, object] | object) -> Sizes:
    sizes = copy.deepcopy(SHIPPED)
    for name, value in sections.items():
        if isinstance(value, dict):
            sizes[name] |= value
        else:
            sizes[name] = value
    return sizes


def ids(*parts: int | Iterable[int]) -> Tensor:
    flat: list[int] = []
    for part in parts:
        flat.extend([part] if isinstance(part, int) else part)
    return torch.tensor(flat)


SEG, BBOX = SHIPPED["tokens"]["seg"], SHIPPED["tokens"]["bbox"]
WORDS = [17, 45, 230, 99, 301, 28]


def recorded(
    folder: Path,
    sizes: Sizes,
    seed: int,
    boxes: int = 2,
    marks: int = 2,
    answer: Iterable[int] = (5, SEG, 9, SEG, 2),
    first: int = SEG,
) -> Path:
    """A golden folder of these sizes, `boxes` random boxes and `marks` places for them.

    answer: what the forced pass says; first: what the greedy answer begins with.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = ReferenceModel(sizes)
    randomise(model, seed)
    corners = torch.rand(boxes, 2, 2, generator=generator).sort(dim=1).values
    side, (height, width) = sizes["sam"]["image_size"], sizes["resized_size"]
    sam = torch.zeros(1, 3, side, side)
    sam[..., :height, :width] = torch.randn(1, 3, height, width, generator=generator)
    side = sizes["clip"]["image_size"]
    clip = torch.randn(1, 3, side, side, generator=generator)
    prompt = ids(1, WORDS, IMAGE, WORDS, *([BBOX, 7 + k] for k in range(marks)))
    with torch.no_grad():
        states = model.eval().hidden_states(clip)
        image = model.projector(states[sizes["select_layer"]][0, 1:])
        regions = model.region(model.levels(states), corners.flatten(1))
        last = model.states(model.embed(prompt, image, regions))[0, -1]
        model.llama.lm_head.weight[first] = last / last.norm() * 2
    forced = torch.cat([prompt, ids(answer)])
    made = record(model, folder, clip, sam, corners.flatten(1), forced, prompt, steps=6)
    assert made["greedy.output_ids"][0, len(prompt)] == first
    return folder


VARIATIONS: dict[str, tuple[Sizes, dict[str, object]]] = {
    "a wider LLM with a longer vocabulary": (
        varied(
            llm={
                "hidden_size": 96,
                "intermediate_size": 200,
                "num_hidden_layers": 2,
                "num_attention_heads": 6,
                "vocab_size": 512,
                "rms_norm_eps": 1e-6,
            }
        ),
        {},
    ),
    "fewer positions than the record takes": (varied(llm={"max_position_embeddings": 64}), {}),
    "CLIP whose lowest level is the embedding": (
        varied(clip={"num_hidden_layers": 10, "num_attention_heads": 2, "intermediate_size": 200}),
        {},
    ),
    "CLIP read at its last state, with other patches": (
        varied(clip={"hidden_size": 128, "num_hidden_layers": 11, "image_size": 192, "patch_size": 8}, select_layer=-1),
        {},
    ),
    "a select_layer from the front": (varied(select_layer=10), {}),
    "a wide box query": (varied(region={"query_dim": 96}), {"boxes": 5, "marks": 5}),
    "another SAM, upright image": (
        varied(
            sam={
                "image_size": 320,
                "embed_dim": 64,
                "depth": 4,
                "num_heads": 2,
                "global_attn_indexes": [0, 3],
                "window_size": 6,
                "prompt_dim": 48,
                "mlp_dim": 96,
                "iou_hidden": 24,
            },
            original_size=[411, 133],
            resized_size=[320, 104],
        ),
        {},
    ),
    "a SAM that only looks through windows, square image": (
        varied(sam={"global_attn_indexes": [], "window_size": 16}, original_size=[64, 64], resized_size=[256, 256]),
        {},
    ),
    "no boxes, places left as they are": (SHIPPED, {"boxes": 0, "marks": 2}),
    "no boxes and no places": (SHIPPED, {"boxes": 0, "marks": 0}),
    "one box for all places": (SHIPPED, {"boxes": 1, "marks": 3}),
    "more boxes than places": (SHIPPED, {"boxes": 4, "marks": 2}),
    "boxes without any place": (SHIPPED, {"boxes": 2, "marks": 0}),
    "no [SEG]": (SHIPPED, {"answer": (5, 6, 2)}),
    "a [SEG] at the very end": (SHIPPED, {"answer": (5, SEG)}),
    "an answer that ends at once": (SHIPPED, {"first": 2}),
}


@pytest.mark.parametrize("name", VARIATIONS)
def test_nothing_is_tuned_to_the_shipped_folder(name: str, tmp_path: Path) -> None:
    sizes, options = VARIATIONS[name]
    replayed = replay(recorded(tmp_path, sizes, seed=sum(map(ord, name)), **options))
    assert {row.step for row in replayed.rows} > STEPS
    assert [row for row in replayed.rows if not row.ok] == []


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


def rewrite(path: Path, **changes: Tensor | None) -> None:
    """Changes tensors of a safetensors file, or drops them; `__` in a name stands for a dot."""
    tensors = load_file(path)
    for name, value in changes.items():
        key = name.replace("__", ".")
        if value is None:
            del tensors[key]
        else:
            tensors[key] = value
    save_file(tensors, path)


def failing(folder: Path) -> set[str]:
    replayed = replay(folder)
    assert not replayed.ok
    return {row.step for row in replayed.rows if not row.ok}


def test_a_difference_shows_where_it_arises(golden: Path) -> None:
    tensors = load_file(golden / "record.safetensors")
    ids, masks = tensors["greedy.output_ids"].clone(), tensors["forced.mask_logits"] + 2e-4
    ids[0, -1] += 1
    marks = tensors["forced.seg_mask"].roll(1)
    rewrite(golden / "record.safetensors", greedy__output_ids=ids, forced__mask_logits=masks, forced__seg_mask=marks)
    assert failing(golden) == {
        "greedy.output_ids",
        "forced.mask_logits",
        "forced.seg_mask",
        # Read at the marked positions, so a shifted mark shows here too.
        "forced.seg_prompt_vectors",
    }


def test_an_answer_of_another_length_does_not_hold(golden: Path) -> None:
    ids = load_file(golden / "record.safetensors")["greedy.output_ids"]
    rewrite(golden / "record.safetensors", greedy__output_ids=torch.cat([ids[:, :36], torch.tensor([[2]])], 1))
    assert failing(golden) == {"greedy.output_ids"}


def test_what_is_not_a_number_never_holds(golden: Path) -> None:
    weight = load_file(golden / "model.safetensors")["model.mm_projector.0.weight"]
    weight[0, 0] = torch.nan
    rewrite(golden / "model.safetensors", model__mm_projector__0__weight=weight)
    tokens = load_file(golden / "record.safetensors")["projected_tokens"]
    rewrite(golden / "record.safetensors", projected_tokens=torch.full_like(tokens, torch.nan))
    assert {"projected_tokens", "forced.last_hidden_state"} <= failing(golden)


def test_folders_that_cannot_be_replayed_are_explained(golden: Path) -> None:
    record, config = golden / "record.safetensors", golden / "config.json"
    rewrite(record, boxes_normalized=torch.zeros(2, 4))
    with pytest.raises(CheckpointError, match="2 boxes for 3 <bbox>"):
        replay(golden)
    rewrite(record, forced__surprise=torch.zeros(1))
    with pytest.raises(CheckpointError, match=r"'forced\.surprise'"):
        replay(golden)
    rewrite(record, forced__surprise=None, forced__input_ids=None)
    with pytest.raises(CheckpointError, match=r"lacks 'forced\.input_ids'"):
        replay(golden)
    save_file({"loss.loss": torch.zeros(1)}, record)
    with pytest.raises(CheckpointError, match="no step"):
        replay(golden)
    record.write_bytes(b"not a record")
    with pytest.raises(CheckpointError, match=r"record\.safetensors"):
        replay(golden)
    shutil.copy(GOLDEN / "record.safetensors", record)
    sizes = json.loads(config.read_text())
    config.write_text(json.dumps({**sizes, "tokens": {}}))
    with pytest.raises(CheckpointError, match="no token '<bbox>'"):
        replay(golden)
    del sizes["original_size"]
    config.write_text(json.dumps(sizes))
    with pytest.raises(CheckpointError, match="lacks 'original_size'"):
        replay(golden)
