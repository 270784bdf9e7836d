"""The one place that knows what the reference implementation calls each of our weights, both ways.

The reference's names are those of mbzuai-oryx/groundingLMM's state_dict. Every key of it is either one of ours, by
RULES, or left out for a reason, by LEFT_OUT; anything else is an error.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shared.model import parts
from shared.model.checkpoint import CheckpointError, empty
from shared.model.config import GlammConfig

TOWER = "model.vision_tower.vision_tower."
"""What stands before the keys of Hugging Face's CLIP in the reference's."""

_CLIP = TOWER + "vision_model."
_BLOCK = _CLIP + r"encoder.layers.\1."
_OUR_BLOCK = r"clip\.tower\.transformer\.resblocks\.(\d+)\."
_SAM = "model.grounding_encoder."

RULES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("vision", r"clip\.tower\.class_embedding", (_CLIP + "embeddings.class_embedding",)),
    ("vision", r"clip\.tower\.positional_embedding", (_CLIP + "embeddings.position_embedding.weight",)),
    ("vision", r"clip\.tower\.conv1\.weight", (_CLIP + "embeddings.patch_embedding.weight",)),
    ("vision", r"clip\.tower\.ln_pre\.(.+)", (_CLIP + r"pre_layrnorm.\1",)),
    ("vision", r"clip\.tower\.ln_post\.(.+)", (_CLIP + r"post_layernorm.\1",)),
    ("vision", _OUR_BLOCK + r"ln_([12])\.(.+)", (_BLOCK + r"layer_norm\2.\3",)),
    (
        "vision",
        _OUR_BLOCK + r"attn\.in_proj_(weight|bias)",
        tuple(_BLOCK + rf"self_attn.{name}_proj.\2" for name in "qkv"),
    ),
    ("vision", _OUR_BLOCK + r"attn\.out_proj\.(.+)", (_BLOCK + r"self_attn.out_proj.\2",)),
    ("vision", _OUR_BLOCK + r"mlp\.c_fc\.(.+)", (_BLOCK + r"mlp.fc1.\2",)),
    ("vision", _OUR_BLOCK + r"mlp\.c_proj\.(.+)", (_BLOCK + r"mlp.fc2.\2",)),
    ("vision", r"region\.(.+)", (r"model.region_encoder.\1",)),
    ("vision", r"grounding\.encoder\.(.+)", (_SAM + r"image_encoder.\1",)),
    ("llm", r"projector\.(.+)", (r"model.mm_projector.\1",)),
    ("llm", r"llama\.(.+)", (r"\1",)),
    ("llm", r"text_projection\.(.+)", (r"model.text_hidden_fcs.0.\1",)),
    ("pixel", r"(prompt_encoder\..+|mask_decoder\..+)", (_SAM + r"\1",)),
)
"""Part, our name, and the reference's name for it. Where there are several, ours is theirs stacked in that order."""

LEFT_OUT: tuple[tuple[str, str], ...] = (
    (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq", "rotary frequencies follow from the config"),
    (r".*\.embeddings\.position_ids", "CLIP's list of positions 0, 1, 2 …"),
    (re.escape(_SAM) + r"pixel_(mean|std)", "SAM's normalisation, the same in every SAM"),
    (
        re.escape(TOWER) + r"(text_model\..*|logit_scale|text_projection\.weight|visual_projection\.weight)",
        "CLIP's text tower and contrastive heads, which GLaMM does not have",
    ),
)
"""Keys of a reference's folder that have no counterpart here, and why."""


@dataclass(frozen=True)
class Weight:
    """One of our weights, and the keys that the reference keeps it under, stacked along the first axis."""

    part: str
    name: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]

    @property
    def source_shape(self) -> tuple[int, ...]:
        """The shape of each of `sources`."""
        return self.shape if len(self.sources) == 1 else (self.shape[0] // len(self.sources), *self.shape[1:])

    def join(self, pieces: Sequence[Tensor]) -> Tensor:
        """The reference's tensors, in the order of `sources` → ours."""
        return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))

    def split(self, tensor: Tensor) -> Sequence[Tensor]:
        """Ours → the reference's tensors, in the order of `sources`."""
        return (tensor,) if len(self.sources) == 1 else tensor.chunk(len(self.sources))


def weights(config: GlammConfig) -> tuple[Weight, ...]:
    """Every weight of a model of these sizes, part by part. Takes no memory: the modules are built without data."""
    modules = {part: empty(build, config) for part, build in parts.BUILDERS.items()}
    return tuple(
        Weight(part, name, tuple(tensor.shape), sources(part, name))
        for part, module in modules.items()
        for name, tensor in module.state_dict().items()
    )


def sources(part: str, name: str) -> tuple[str, ...]:
    """The reference's keys for one of our weights. Raises CheckpointError for a name that no rule knows."""
    for rule_part, ours, theirs in RULES:
        if rule_part == part and (match := re.fullmatch(ours, name)):
            return tuple(match.expand(template) for template in theirs)
    raise CheckpointError(f"the reference has no counterpart of {part} weight {name!r}")


def left_out(key: str) -> str | None:
    """Why a key of the reference is not read, or None for a key that has to be one of ours."""
    return next((reason for pattern, reason in LEFT_OUT if re.fullmatch(pattern, key)), None)


def account_for(found: Mapping[str, tuple[int, ...]], wanted: Iterable[Weight]) -> None:
    """Raises CheckpointError naming keys that are unknown, missing or misshapen. found: key → shape."""
    expected = {key: weight.source_shape for weight in wanted for key in weight.sources}
    unknown = sorted(key for key in found.keys() - expected.keys() if left_out(key) is None)
    if unknown:
        raise CheckpointError(f"{_listed(unknown)}: no part of GLaMM has such a weight")
    missing = sorted(expected.keys() - found.keys())
    if missing and all(key.startswith(_CLIP) for key in missing) and not any(key.startswith(_CLIP) for key in found):
        raise CheckpointError("the CLIP tower is not inside; give its own folder with --clip")
    if missing:
        raise CheckpointError(f"{_listed(missing)}: missing")
    misshapen = [key for key, shape in expected.items() if tuple(found[key]) != shape]
    if misshapen:
        key = misshapen[0]
        shape = tuple(found[key])
        raise CheckpointError(f"{key} has the shape {shape}, the sizes in config.json ask for {expected[key]}")


def rotary_frequencies(config: GlammConfig) -> dict[str, Tensor]:
    """What the reference's LLaMA keeps in every layer besides weights, float32 (head width / 2,) each."""
    width = config.llm.hidden // config.llm.heads
    frequencies = 1.0 / (config.llm.rope_base ** (torch.arange(0, width, 2).float() / width))
    # A copy each: safetensors refuses two names for the same memory.
    return {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": frequencies.clone() for i in range(config.llm.layers)}


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more
