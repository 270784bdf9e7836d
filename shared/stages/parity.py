"""Replays what the reference implementation computed, step by step, and measures how far this one is from it.

A golden folder holds the reference's weights under its own names (model.safetensors, config.json) and a record of
inputs and outputs (record.safetensors). Each step gets the recorded outputs of the steps before it, so that a
difference shows where it arises; the greedy answer alone runs from the pixels to the masks on nothing but our own.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from torch import Tensor, nn

from shared.model import convert, parts
from shared.model.checkpoint import CONFIG_FILE, CheckpointError
from shared.model.config import GlammConfig
from shared.model.lmm import Lmm
from shared.model.parts import VisionEncoders
from shared.model.pixel_decoder import PixelDecoder
from shared.model.tokenizer import GlammTokenizer
from shared.stages.llm import LlmInput, LlmStage, Prompt

RECORD_FILE = "record.safetensors"
TOLERANCE = 1e-4
INPUTS = frozenset(
    {
        "clip_pixel_values",
        "sam_pixel_values",
        "boxes_normalized",
        "forced.input_ids",
        "forced.seg_mask",
        "greedy.input_ids",
    }
)
TRAINING = "loss."
"""What the trainer computes; no stage does, so its own tests compare it."""


@dataclass(frozen=True)
class Row:
    """One step. absolute: largest error; relative: that over the step's largest value. For ids: how many differ."""

    step: str
    shape: tuple[int, ...]
    absolute: float
    relative: float
    ok: bool


def replay(folder: Path) -> list[Row]:
    """A row for every recorded step, in float32 on the CPU.

    Raises CheckpointError where the folder's weights are not those of a GLaMM, or its record is incomplete or holds a
    step that is not known here.
    """
    config, wanted, entries = convert.inspect(folder)
    record = _Record(folder, config)
    modules: dict[str, nn.Module] = {}
    for part, build in parts.BUILDERS.items():
        mine = [weight for weight in wanted if weight.part == part]
        modules[part] = build(config).eval().requires_grad_(False)
        modules[part].load_state_dict({weight.name: tensor for weight, tensor in convert.joined(mine, entries)})
    vision, lmm, pixel = modules["vision"], modules["llm"], modules["pixel"]
    assert isinstance(vision, VisionEncoders)
    assert isinstance(lmm, Lmm)
    assert isinstance(pixel, PixelDecoder)
    steps = _vision(record, vision) | _forced(record, lmm) | _masks(record, pixel) | _greedy(record, vision, lmm, pixel)
    left = record.steps - steps.keys()
    if left:
        raise CheckpointError(f"{folder}: no step here is called {min(left)}")
    with torch.inference_mode():
        return [_row(name, record[name], step()) for name, step in steps.items() if name in record.steps]


class _Record:
    """The recorded tensors, and what config.json says besides sizes."""

    def __init__(self, folder: Path, config: GlammConfig) -> None:
        self._path = folder / RECORD_FILE
        try:
            self._tensors = load_file(self._path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{self._path} is not a readable record: {error}") from error
        self.config = config
        raw: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text())
        try:
            tokens = {name: int(i) for name, i in raw["tokens"].items()}
            ends = {"<s>": int(raw["llm"]["bos_token_id"]), "</s>": int(raw["llm"]["eos_token_id"])}
            height, width = raw["original_size"]
            self.original = (int(height), int(width))
            height, width = raw["resized_size"]
            self.resized = (int(height), int(width))
            self.tokenizer = _stand_in(tokens, ends, config.llm.vocab_size)
        except KeyError as error:
            raise CheckpointError(f"{folder / CONFIG_FILE} lacks {error.args[0]!r}") from error
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{folder / CONFIG_FILE}: {error}") from error

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise CheckpointError(f"{self._path} lacks {name!r}")
        return self._tensors[name]

    @property
    def steps(self) -> set[str]:
        return {name for name in self._tensors if name not in INPUTS and not name.startswith(TRAINING)}

    def regions(self, ids: Tensor, tokens: Callable[[], Tensor]) -> Tensor | None:
        """The region tokens that `ids` has places for: the reference drops those beyond."""
        places = int((ids == self.tokenizer.bbox).sum())
        return tokens()[:places] if places else None


_Steps = dict[str, Callable[[], Tensor]]


def _vision(record: _Record, vision: VisionEncoders) -> _Steps:
    @cache
    def states() -> list[Tensor]:
        return _hidden_states(vision, record["clip_pixel_values"])

    def state(index: int) -> Tensor:
        return states()[index]

    count = record.config.clip.layers + 1
    return {
        **{f"clip_hidden_states.{index}": partial(state, index) for index in range(count)},
        "global_tokens": lambda: vision.clip.global_tokens(record["clip_pixel_values"]),
        "region_tokens": lambda: _region_tokens(record, vision),
        "sam_embedding": lambda: vision.grounding(record["sam_pixel_values"]),
    }


def _forced(record: _Record, lmm: Lmm) -> _Steps:
    """One pass over a whole conversation whose answer is given."""

    def states() -> Tensor:
        ids = record["forced.input_ids"][0]
        regions = record.regions(ids, lambda: record["region_tokens"])
        return lmm.states(lmm.embed(ids, record["global_tokens"][0], regions, record.tokenizer.bbox)[None])

    return {
        "projected_tokens": lambda: lmm.projector(record["global_tokens"]),
        "forced.last_hidden_state": states,
        "forced.logits": lambda: lmm.logits(record["forced.last_hidden_state"]),
        "forced.seg_prompt_vectors": lambda: lmm.prompt_vectors(
            record["forced.last_hidden_state"][record["forced.seg_mask"]]
        ),
    }


def _masks(record: _Record, pixel: PixelDecoder) -> _Steps:
    @cache
    def decoded() -> tuple[Tensor, Tensor]:
        prompts = record["forced.seg_prompt_vectors"]
        low, iou = pixel(record["sam_embedding"].expand(len(prompts), -1, -1, -1), prompts)
        return low, iou

    return {
        "dense_pe": pixel.dense_positions,
        "forced.low_res_masks": lambda: decoded()[0][:, None],
        "forced.iou_predictions": lambda: decoded()[1][:, None],
        "forced.mask_logits": lambda: pixel.upscale(
            record["forced.low_res_masks"][:, 0], record.resized, record.original
        ),
    }


def _greedy(record: _Record, vision: VisionEncoders, lmm: Lmm, pixel: PixelDecoder) -> _Steps:
    """The service's own decoding, with its cache, one token a step; the reference runs the whole prefix every time."""

    @cache
    def answer() -> tuple[Tensor, Tensor]:
        ids = record["greedy.input_ids"][0]
        room = record["greedy.output_ids"].shape[1] - len(ids)
        regions = record.regions(ids, lambda: _region_tokens(record, vision))
        image = vision.clip.global_tokens(record["clip_pixel_values"])[0]
        stage = LlmStage(lmm, record.tokenizer, max_new_tokens=room)
        (output,) = stage.run([LlmInput(image, (Prompt(tuple(ids.tolist()), regions),))])
        (said,) = output.answers
        return torch.cat([ids, torch.tensor(said.token_ids)])[None], said.prompt_vectors

    def masks() -> Tensor:
        prompts = answer()[1]
        if not len(prompts):
            return torch.zeros(0, *record.original)
        embedding = vision.grounding(record["sam_pixel_values"])
        low, _ = pixel(embedding.expand(len(prompts), -1, -1, -1), prompts)
        return pixel.upscale(low, record.resized, record.original)

    return {"greedy.output_ids": lambda: answer()[0], "greedy.mask_logits": masks}


def _region_tokens(record: _Record, vision: VisionEncoders) -> Tensor:
    levels = vision.clip(record["clip_pixel_values"], record.config.region.levels)
    tokens: Tensor = vision.region(levels[::-1], [record["boxes_normalized"]])[0]
    return tokens


def _hidden_states(vision: VisionEncoders, pixels: Tensor) -> list[Tensor]:
    """CLIP's hidden states with their CLS, (b, 1 + grid², width) each: first block's input, then every output."""
    blocks = vision.clip.tower.transformer.resblocks
    states: list[Tensor] = []
    handles = [blocks[0].register_forward_pre_hook(lambda _, given: states.append(given[0]))]
    handles += [block.register_forward_hook(lambda _, __, out: states.append(out)) for block in blocks]
    try:
        vision.clip(pixels, [-1])
    finally:
        for handle in handles:
            handle.remove()
    return states


def _stand_in(tokens: dict[str, int], ends: dict[str, int], size: int) -> GlammTokenizer:
    """A tokenizer with the record's special ids; a record holds ids, so no text is ever tokenised."""
    ids = {(f"[{name.upper()}]" if name == "seg" else f"<{name}>"): i for name, i in tokens.items()} | ends
    special = {i: token for token, i in ids.items()}
    vocabulary = {special.get(i, f"token{i}"): i for i in range(size)}
    return GlammTokenizer(Tokenizer(models.WordLevel(vocabulary, unk_token="token0")))


def _row(step: str, expected: Tensor, got: Tensor) -> Row:
    shape = tuple(expected.shape)
    if not expected.is_floating_point():
        # An answer that ends early is compared as far as it goes; what it lacks counts as differing.
        common = min(expected.shape[-1], got.shape[-1])
        differing = int((expected[..., :common] != got[..., :common]).sum()) + abs(expected.shape[-1] - got.shape[-1])
        return Row(step, shape, differing, differing / max(1, expected.numel()), differing == 0)
    if got.shape != expected.shape:
        return Row(step, shape, float("inf"), float("inf"), False)
    if not expected.numel():
        return Row(step, shape, 0.0, 0.0, True)
    absolute = (got.float() - expected).abs().max().item()
    largest = expected.abs().max().item()
    return Row(step, shape, absolute, absolute / largest if largest else absolute, absolute <= TOLERANCE)


def passes(rows: Iterable[Row]) -> bool:
    return all(row.ok for row in rows)
