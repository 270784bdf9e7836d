"""Replays what the reference implementation computed, step by step, and measures how far this one is from it.

Each step gets the recorded outputs of the steps before it, so that a difference shows where it arises; the greedy
answer alone runs from the pixels to the masks on nothing but our own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from shared.model import convert, parts
from shared.model.checkpoint import CheckpointError, Part, empty, fill
from shared.model.config import GlammConfig
from shared.model.lmm import Lmm, expanded_positions
from shared.model.pixel_decoder import PixelDecoder
from shared.model.tokenizer import IMAGE_PLACEHOLDER
from shared.model.vision_encoders import VisionEncoders
from shared.stages.generation import LlmInput, Prompt
from shared.stages.golden import Record
from shared.stages.llm import LlmStage

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Row:
    """One step. absolute: largest error; relative: that over the step's largest value. For ids: how many differ."""

    step: str
    shape: tuple[int, ...]
    absolute: float
    relative: float
    ok: bool


@dataclass(frozen=True)
class Replay:
    """rows: one for every recorded step of a stage; left_out: recorded steps that only a trainer computes."""

    rows: tuple[Row, ...]
    left_out: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return all(row.ok for row in self.rows)


def replay(folder: Path, progress: Callable[[str], None] = lambda step: None) -> Replay:
    """Every recorded step of a stage, in float32 on the CPU. progress: called with each step's name before it runs.

    Raises CheckpointError where the folder's weights are not those of a GLaMM, or its record is incomplete or holds a
    step that is not known here.
    """
    config, wanted, entries = convert.inspect(folder)
    record = Record(folder, config)
    # The reference's LLaMA computes past the length that its config names; ours would end the answer there.
    llm = replace(config.llm, max_positions=max(config.llm.max_positions, record.positions))
    sizes = replace(config, llm=llm)

    def load(part: str, build: Callable[[GlammConfig], Part]) -> Part:
        mine = [weight for weight in wanted if weight.part == part]
        state = {weight.name: tensor.float() for weight, tensor in convert.joined(mine, entries)}
        return fill(empty(build, sizes), state, torch.device("cpu"))

    vision, lmm, pixel = load("vision", parts.vision), load("llm", parts.llm), load("pixel", parts.pixel)
    seen = _Seen(record, vision)
    steps = _vision(record, seen) | _forced(record, lmm) | _masks(record, pixel) | _greedy(record, seen, lmm, pixel)
    if left := record.steps - steps.keys():
        raise CheckpointError(f"{folder}: no step here is called {min(left)!r}")
    rows = []
    with torch.inference_mode():
        for name, step in steps.items():
            if name in record.steps:
                progress(name)
                rows.append(compare(name, record[name], step()))
    return Replay(tuple(rows), record.training_steps)


def compare(step: str, expected: Tensor, got: Tensor) -> Row:
    """Floats hold within TOLERANCE, ids and marks exactly; whatever is not a number never holds."""
    shape = tuple(expected.shape)
    if not expected.is_floating_point() and got.shape[:-1] == expected.shape[:-1]:
        # An answer that ends early is compared as far as it goes; what it lacks counts as differing.
        common = min(expected.shape[-1], got.shape[-1])
        differing = int((expected[..., :common] != got[..., :common]).sum()) + abs(expected.shape[-1] - got.shape[-1])
        return Row(step, shape, differing, differing / max(1, expected.numel()), differing == 0)
    if got.shape != expected.shape:
        return Row(step, shape, float("inf"), float("inf"), False)
    if not expected.numel():
        return Row(step, shape, 0.0, 0.0, True)
    absolute = (got.float() - expected.float()).abs().max().item()
    largest = expected.float().abs().max().item()
    return Row(step, shape, absolute, absolute / largest if largest else absolute, absolute <= TOLERANCE)


_Steps = dict[str, Callable[[], Tensor]]


class _Seen:
    """What our own encoders make of the recorded pixels, each computed once."""

    def __init__(self, record: Record, vision: VisionEncoders) -> None:
        self._record, self._vision = record, vision

    @cached_property
    def hidden_states(self) -> list[Tensor]:
        """CLIP's, with their CLS, (1, 1 + grid², width) each: first block's input, then every output."""
        blocks = self._vision.clip.tower.transformer.resblocks
        states: list[Tensor] = []
        handles = [blocks[0].register_forward_pre_hook(lambda _, given: states.append(given[0]))]
        handles += [block.register_forward_hook(lambda _, __, out: states.append(out)) for block in blocks]
        try:
            self._vision.clip(self._record["clip_pixel_values"], [-1])
        finally:
            for handle in handles:
                handle.remove()
        return states

    @cached_property
    def global_tokens(self) -> Tensor:
        return self._vision.clip.global_tokens(self._record["clip_pixel_values"])

    @cached_property
    def region_tokens(self) -> Tensor:
        levels = self._vision.clip(self._record["clip_pixel_values"], self._record.config.region.levels)
        tokens: Tensor = self._vision.region(levels[::-1], [self._record.boxes])[0]
        return tokens

    @cached_property
    def sam_embedding(self) -> Tensor:
        embedding: Tensor = self._vision.grounding(self._record["sam_pixel_values"])
        return embedding


def _vision(record: Record, seen: _Seen) -> _Steps:
    def state(index: int) -> Tensor:
        return seen.hidden_states[index]

    return {
        **{f"clip_hidden_states.{index}": partial(state, index) for index in range(record.config.clip.layers + 1)},
        "global_tokens": lambda: seen.global_tokens,
        "region_tokens": lambda: seen.region_tokens,
        "sam_embedding": lambda: seen.sam_embedding,
    }


def _forced(record: Record, lmm: Lmm) -> _Steps:
    """One pass over a whole conversation whose answer is given."""

    def states() -> Tensor:
        ids = record["forced.input_ids"][0]
        regions = _handed_out(record, ids, lambda: record["region_tokens"])
        return lmm.states(lmm.embed(ids, record["global_tokens"][0], regions, record.tokenizer.bbox)[None])

    return {
        "projected_tokens": lambda: lmm.projector(record["global_tokens"]),
        "forced.last_hidden_state": states,
        "forced.logits": lambda: lmm.logits(record["forced.last_hidden_state"]),
        "forced.seg_mask": lambda: _seg_mask(record, record["forced.input_ids"][0].tolist()),
        "forced.seg_prompt_vectors": lambda: lmm.prompt_vectors(
            record["forced.last_hidden_state"][record["forced.seg_mask"]]
        ),
    }


def _masks(record: Record, pixel: PixelDecoder) -> _Steps:
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


def _greedy(record: Record, seen: _Seen, lmm: Lmm, pixel: PixelDecoder) -> _Steps:
    """The service's own decoding, with its cache, one token a step; the reference runs the whole prefix every time."""

    @cache
    def answer() -> tuple[Tensor, Tensor]:
        ids = record["greedy.input_ids"][0]
        room = record["greedy.output_ids"].shape[1] - len(ids)
        regions = _handed_out(record, ids, lambda: seen.region_tokens)
        stage = LlmStage(lmm, record.tokenizer, max_new_tokens=room)
        (output,) = stage.run([LlmInput(seen.global_tokens[0], (Prompt(tuple(ids.tolist()), regions),))])
        (said,) = output.answers
        return torch.cat([ids, torch.tensor(said.token_ids)])[None], said.prompt_vectors

    def masks() -> Tensor:
        prompts = answer()[1]
        low, _ = pixel(seen.sam_embedding.expand(len(prompts), -1, -1, -1), prompts)
        return pixel.upscale(low, record.resized, record.original)

    return {"greedy.output_ids": lambda: answer()[0], "greedy.mask_logits": masks}


def _handed_out(record: Record, ids: Tensor, tokens: Callable[[], Tensor]) -> Tensor | None:
    """A region token for each `<bbox>` of `ids`, as the reference hands them out.

    Tokens beyond the marks are dropped, a single one serves every mark, and without boxes the marks keep the
    embedding of their own id.
    """
    marks, boxes = int((ids == record.tokenizer.bbox).sum()), len(record.boxes)
    if not marks or not boxes:
        return None
    if boxes == 1:
        return tokens().expand(marks, -1)
    if boxes < marks:
        raise CheckpointError(f"the record has {boxes} boxes for {marks} <bbox>, which the reference cannot compute")
    return tokens()[:marks]


def _seg_mask(record: Record, ids: Sequence[int]) -> Tensor:
    """Which positions of the expanded sequence predict a [SEG], (1, positions)."""
    image_tokens = record.config.clip.tokens
    mask = torch.zeros(1, len(ids) + ids.count(IMAGE_PLACEHOLDER) * (image_tokens - 1), dtype=torch.bool)
    for token, position in zip(ids, expanded_positions(ids, image_tokens), strict=True):
        if token == record.tokenizer.seg and position:
            mask[0, position - 1] = True
    return mask
