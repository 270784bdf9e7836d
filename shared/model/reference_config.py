"""Sizes from, and as, the config.json of a reference folder. Two layouts are known:

- the released models' (Hugging Face, LLaVA's keys): LLaMA's sizes stand in it, CLIP's follow from the tower's name or
  from its own config.json, SAM is ViT-H and the region encoder has the one size of the reference's code;
- by section (`llm`, `clip`, `sam`, `region`), which says every size and so fits any model.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from transformers import CLIPVisionConfig

from shared.model.checkpoint import CONFIG_FILE, CheckpointError
from shared.model.config import ClipConfig, GlammConfig, LlmConfig, RegionConfig, SamConfig
from shared.model.tokenizer import GlammTokenizer

TOWER_NAME = "clip-vit-large-patch14-336"
SELECT_KEY = "mm_vision_select_layer"
REGION_LEVELS = 4
LEVEL_STEP = 3

_CLIP_KEYS = {
    "image_size": "image_size",
    "patch_size": "patch_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
}
_LLM_KEYS = {
    "hidden": "hidden_size",
    "mlp_width": "intermediate_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "vocab_size": "vocab_size",
    "max_positions": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
}
_SAM_KEYS = {
    "image_size": "image_size",
    "width": "embed_dim",
    "depth": "depth",
    "heads": "num_heads",
    "global_attention": "global_attn_indexes",
    "window": "window_size",
    "prompt_dim": "prompt_dim",
    "decoder_mlp": "mlp_dim",
    "iou_hidden": "iou_hidden",
}
"""Our field → their key."""

_SETTLED_LLM = {"hidden_act": "silu", "rope_scaling": None, "tie_word_embeddings": False}
_SETTLED_CLIP = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_SETTLED_RELEASED = {
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_select_feature": "patch",
    "num_level_reg_features": REGION_LEVELS,
    "with_region": True,
}
_SETTLED_SECTIONS = {"projector": "mlp2x_gelu"}
"""What the reference's mathematics takes for granted; a config may repeat it but not differ. The last two are of a
layout each, outside of LLaMA's and CLIP's own.
"""


def read(folder: Path, clip: Path | None = None) -> GlammConfig:
    """Sizes of a reference folder. clip: a folder that holds the CLIP tower apart.

    Raises CheckpointError naming what is missing from a config.json or cannot be computed here.
    """
    raw = _json(folder / CONFIG_FILE)
    name = str(raw.get("name", folder.resolve().name))
    try:
        made = _from_sections(raw, name) if "llm" in raw else _from_released(raw, name, clip)
        # Through our own form, which checks every field.
        return GlammConfig.from_dict(json.loads(made.to_json()))
    except KeyError as error:
        raise CheckpointError(f"{folder / CONFIG_FILE} lacks {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / CONFIG_FILE}: {error}") from error


def write(config: GlammConfig, tokenizer: GlammTokenizer) -> dict[str, Any]:
    """A config.json in the released models' layout where that can say these sizes, by section otherwise."""
    llm = {theirs: getattr(config.llm, ours) for ours, theirs in _LLM_KEYS.items()} | {
        "rope_theta": config.llm.rope_base,
        "bos_token_id": tokenizer.bos,
        "eos_token_id": tokenizer.eos,
        "pad_token_id": 0,
    }
    if has_sizes_of_reference(config):
        return {
            "name": config.name,
            "architectures": ["GLaMMForCausalLM"],
            "model_type": "llava",
            "tokenizer_class": "LlamaTokenizer",
            **llm,
            "num_key_value_heads": config.llm.heads,
            **_SETTLED_LLM,
            **_SETTLED_RELEASED,
            # The reference builds the tower by the first name, and loads its weights by the second.
            "mm_vision_tower": f"openai/{TOWER_NAME}",
            "vision_tower": f"openai/{TOWER_NAME}",
            SELECT_KEY: config.clip.select_layer,
            "mm_hidden_size": config.clip.width,
            "mm_use_im_start_end": True,
            "bbox_token_idx": tokenizer.bbox,
            "out_dim": config.sam.prompt_dim,
            "train_mask_decoder": True,
            "use_cache": False,
        }
    return {
        "name": config.name,
        "llm": llm,
        "clip": {theirs: getattr(config.clip, ours) for ours, theirs in _CLIP_KEYS.items()},
        "sam": {theirs: getattr(config.sam, ours) for ours, theirs in _SAM_KEYS.items()} | _unusual(config.sam),
        "region": {"query_dim": config.region.query_width or config.clip.width} | _unusual(config.region),
        "select_layer": config.clip.select_layer,
    }


def has_sizes_of_reference(config: GlammConfig) -> bool:
    """Whether the reference's program can build this model: its code settles all sizes but those within LLaMA."""
    fixed, released = (
        (sizes.clip, sizes.region, sizes.sam, sizes.llm.hidden) for sizes in (config, GlammConfig.preset("glamm-7b"))
    )
    return fixed == released


def _from_released(raw: dict[str, Any], name: str, clip_folder: Path | None) -> GlammConfig:
    _check("config.json: ", raw, _SETTLED_RELEASED)
    released = GlammConfig.preset("glamm-7b")
    clip = _tower(raw, clip_folder, released.clip)
    return GlammConfig(
        name=name,
        clip=clip,
        region=dataclasses.replace(released.region, levels=_levels(clip), query_width=None),
        sam=dataclasses.replace(released.sam, prompt_dim=raw.get("out_dim", released.sam.prompt_dim)),
        llm=_llm("config.json: ", raw),
    )


def _tower(raw: dict[str, Any], folder: Path | None, released: ClipConfig) -> ClipConfig:
    select = raw.get(SELECT_KEY, released.select_layer)
    if folder is None:
        tower = str(raw["mm_vision_tower"])
        if tower.rstrip("/").rsplit("/", 1)[-1] != TOWER_NAME:
            raise CheckpointError(f"config.json: the CLIP tower {tower!r} is of unknown size; give it with --clip")
        return dataclasses.replace(released, select_layer=_from_the_end(SELECT_KEY, select, released.layers))
    _json(folder / CONFIG_FILE)
    # A tower's config.json leaves out whatever equals the library's defaults, so the library has to read it.
    try:
        sizes = CLIPVisionConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises nothing narrower
        raise CheckpointError(f"{folder / CONFIG_FILE} is of no CLIP: {' '.join(str(error).split())}") from error
    _check(f"{folder / CONFIG_FILE}: ", sizes.to_dict(), _SETTLED_CLIP)
    fields = {ours: getattr(sizes, theirs) for ours, theirs in _CLIP_KEYS.items()}
    return ClipConfig(**fields, select_layer=_from_the_end(SELECT_KEY, select, fields["layers"]))


def _from_sections(raw: dict[str, Any], name: str) -> GlammConfig:
    _check("config.json: ", raw, _SETTLED_SECTIONS)
    _check("config.json: clip.", raw["clip"], _SETTLED_CLIP)
    fields = {ours: raw["clip"][theirs] for ours, theirs in _CLIP_KEYS.items()}
    clip = ClipConfig(**fields, select_layer=_from_the_end("select_layer", raw["select_layer"], fields["layers"]))
    sam = {ours: raw["sam"][theirs] for ours, theirs in _SAM_KEYS.items()} | _own(raw["sam"], SamConfig)
    region = _own(raw["region"], RegionConfig)
    if "levels" not in region:
        region["levels"] = _levels(clip)
    if raw["region"].get("query_dim", clip.width) != clip.width:
        region["query_width"] = raw["region"]["query_dim"]
    sam["global_attention"] = tuple(sam["global_attention"])
    llm = _llm("config.json: llm.", raw["llm"])
    return GlammConfig(name=name, clip=clip, region=RegionConfig(**region), sam=SamConfig(**sam), llm=llm)


def _own(section: dict[str, Any], kind: type[RegionConfig] | type[SamConfig]) -> dict[str, Any]:
    """What a section says under our own names: sizes that the reference's code does not let vary."""
    renamed = _SAM_KEYS.values() if kind is SamConfig else ()
    names = {field.name for field in dataclasses.fields(kind)} - set(renamed)
    return {key: tuple(value) if isinstance(value, list) else value for key, value in section.items() if key in names}


def _unusual(sizes: RegionConfig | SamConfig) -> dict[str, Any]:
    """The counterpart of `_own`: what differs from the reference's code."""
    said = {*_SAM_KEYS, "query_width"}
    return {
        field.name: getattr(sizes, field.name)
        for field in dataclasses.fields(sizes)
        if field.name not in said and getattr(sizes, field.name) != field.default
    }


def _llm(place: str, raw: dict[str, Any]) -> LlmConfig:
    # Newer files say there what older ones leave to rope_theta and rope_scaling.
    rope = raw.get("rope_parameters") or {}
    _check(f"{place}rope_parameters.", rope, {"rope_type": "default"})
    _check(place, raw, _SETTLED_LLM | {"num_key_value_heads": raw["num_attention_heads"]})
    sizes = {ours: raw[theirs] for ours, theirs in _LLM_KEYS.items()}
    return LlmConfig(**sizes, rope_base=rope.get("rope_theta", raw.get("rope_theta", LlmConfig.rope_base)))


def _check(place: str, raw: dict[str, Any], settled: dict[str, Any]) -> None:
    for key, value in settled.items():
        if raw.get(key, value) != value:
            raise CheckpointError(f"{place}{key} is {raw[key]!r}; only {value!r} can be computed here, as in GLaMM")


def _from_the_end(name: str, select: Any, layers: int) -> int:
    """A hidden state counted from either end, of the `layers` + 1 that a tower has → counted from the end."""
    if not isinstance(select, int) or not -layers - 1 <= select <= layers:
        has = f"the hidden states 0 to {layers}, or {-layers - 1} to -1 from the end"
        raise CheckpointError(f"config.json: {name} is {select!r}, but a CLIP tower of {layers} layers has {has}")
    return select if select < 0 else select - layers - 1


def _levels(clip: ClipConfig) -> tuple[int, ...]:
    """The hidden states that the reference's region encoder reads: the selected one and every third below it."""
    levels = tuple(clip.select_layer - LEVEL_STEP * index for index in range(REGION_LEVELS))
    if clip.layers + 1 + levels[-1] < 0:
        raise CheckpointError(f"config.json: a CLIP tower of {clip.layers} layers has no hidden state {levels[-1]}")
    return levels


def _json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} has no {path.name}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return raw
