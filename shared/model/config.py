"""Sizes of GLaMM's five parts, one frozen dataclass a part; `GlammConfig` is a checkpoint's config.json."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Self, TypeVar, get_args, get_origin

CONFIGS = Path(__file__).parent / "configs"

Section = TypeVar("Section", "ClipConfig", "RegionConfig", "SamConfig", "LlmConfig")


@dataclass(frozen=True)
class ClipConfig:
    """Global image encoder: a CLIP vision tower. `image_size` and `patch_size` in pixels."""

    image_size: int
    patch_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    # Which hidden state gives the global tokens; -1 is the last block's output, so -2 the one before it (CLIP's own).
    select_layer: int = -2

    @property
    def grid(self) -> int:
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        return self.grid**2


@dataclass(frozen=True)
class RegionConfig:
    """Region encoder. The defaults are the released model's; small models shrink the pyramid and the pooled size."""

    # Hidden states of CLIP that form the pyramid, deep to shallow, counted as `ClipConfig.select_layer` is.
    levels: tuple[int, ...] = (-2, -5, -8, -11)
    # Side of each pyramid level as a multiple of CLIP's grid, shallow to deep.
    scales: tuple[int, ...] = (8, 4, 2, 1)
    rounds: int = 5
    pooled: int = 14
    # Boxes are scaled to this many pixels before RoIAlign. The released weights learned with 224 on a 336 px tower.
    roi_image_size: int = 224
    # Pixels of that image a cell of CLIP's grid: 14 in the reference, whatever the tower's patches.
    stride: int = 14
    position_width: int = 256
    # Width of a box's vector before its projection to the LMM; None: CLIP's.
    query_width: int | None = None


@dataclass(frozen=True)
class SamConfig:
    """Grounding image encoder and pixel decoder: SAM's three parts."""

    image_size: int
    width: int
    depth: int
    heads: int
    global_attention: tuple[int, ...]
    window: int
    prompt_dim: int
    decoder_mlp: int
    iou_hidden: int
    patch_size: int = 16
    mlp_ratio: float = 4.0
    decoder_depth: int = 2
    decoder_heads: int = 8

    @property
    def grid(self) -> int:
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class LlmConfig:
    """The LLaMA shape. `vocab_size` includes the seven added tokens."""

    hidden: int
    mlp_width: int
    layers: int
    heads: int
    vocab_size: int
    max_positions: int = 4096
    norm_eps: float = 1e-5
    rope_base: float = 10_000.0


@dataclass(frozen=True)
class GlammConfig:
    name: str
    clip: ClipConfig
    region: RegionConfig
    sam: SamConfig
    llm: LlmConfig

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Raises ValueError that names what is missing, unknown, of another type, or does not fit the rest."""
        if not isinstance(raw, dict):
            raise ValueError("config is not a JSON object")
        made = cls(
            name=str(raw.get("name", "unnamed")),
            clip=section(ClipConfig, "clip", raw),
            region=section(RegionConfig, "region", raw),
            sam=section(SamConfig, "sam", raw),
            llm=section(LlmConfig, "llm", raw),
        )
        _check_together(made)
        return made

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.from_dict(json.loads(path.read_text()))

    @classmethod
    def preset(cls, name: str) -> Self:
        """A shipped configuration: `glamm-7b` (the released shape) or `glamm-scenes` (the default checkpoint's)."""
        return cls.read(CONFIGS / f"{name}.json")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def section(kind: type[Section], name: str, raw: Mapping[str, Any]) -> Section:
    """`raw`'s section of that name. Raises ValueError, as `GlammConfig.from_dict` does."""
    if not isinstance(raw.get(name), dict):
        raise ValueError(f"config has no section {name!r}")
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in raw[name].items()
    }
    try:
        made = kind(**fields)
    except TypeError as error:
        raise ValueError(f"config section {name!r}: {str(error).partition('() ')[2]}") from error
    for field in dataclasses.fields(made):
        value = getattr(made, field.name)
        # Only a hidden state is counted from the end.
        if not _fits(value, field.type) or (field.name != "select_layer" and isinstance(value, int) and value < 1):
            raise ValueError(f"config section {name!r}: {field.name} is {value!r}")
    # transformers refuses a whole number where a fraction may stand.
    floats: dict[str, Any] = {
        field.name: float(getattr(made, field.name)) for field in dataclasses.fields(made) if field.type is float
    }
    return dataclasses.replace(made, **floats)


def _check_together(config: GlammConfig) -> None:
    clip, sam, llm = config.clip, config.sam, config.llm
    for name, value, of, divisor in (
        ("'clip': width", clip.width, "heads", clip.heads),
        ("'sam': width", sam.width, "heads", sam.heads),
        # Attention across from the image to the prompts has half the width.
        ("'sam': prompt_dim", sam.prompt_dim, "2 × decoder_heads", 2 * sam.decoder_heads),
        # Rotary positions turn pairs of a head's numbers.
        ("'llm': hidden", llm.hidden, "2 × heads", 2 * llm.heads),
    ):
        if value % divisor:
            raise ValueError(f"config section {name} ({value}) is not a multiple of {of} ({divisor})")
    # One a layer, and before them the embedding's.
    states = range(-clip.layers - 1, 0)
    read = [("'clip': select_layer", clip.select_layer), *(("'region': levels", each) for each in config.region.levels)]
    for name, state in read:
        if state not in states:
            has = f"a CLIP tower of {clip.layers} layers has the hidden states {states[0]} to {states[-1]}"
            raise ValueError(f"config section {name}: there is no {state}; {has}")


def _fits(value: Any, wanted: Any) -> bool:
    if get_origin(wanted) is tuple:
        return isinstance(value, tuple) and all(_fits(each, int) for each in value)
    if isinstance(wanted, UnionType):
        return any(_fits(value, each) for each in get_args(wanted))
    accepted = (int, float) if wanted is float else wanted
    return isinstance(value, accepted) and not isinstance(value, bool)
