"""A training's YAML file, checked: every field has a type, unknown ones are refused, and errors name the field."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from shared.errors import InvalidInput
from shared.settings import SHIPPED_CHECKPOINT
from training.losses import BCE_WEIGHT, DICE_WEIGHT, TEXT_WEIGHT
from training.scenes.scene import Split

Number = Annotated[float, Strict(False)]
"""Read leniently, since YAML takes `3e-4`, without a point, for text."""
Positive = Annotated[Number, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]

Part = Literal[
    "lm_head",
    "embed_tokens",
    "mask_decoder",
    "text_projection",
    "region_encoder",
    "projector",
    "llm",
    "global_encoder",
    "grounding_encoder",
]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ModelConfig(Section):
    """Where training begins: a checkpoint, or random weights of a shipped (`preset`) or own (`sizes`) configuration.

    Random weights take the tokenizer of `tokenizer`'s checkpoint, and its vocabulary's size.
    """

    checkpoint: Path | None = None
    preset: str | None = None
    sizes: Path | None = None
    tokenizer: Path = SHIPPED_CHECKPOINT

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if sum(each is not None for each in (self.checkpoint, self.preset, self.sizes)) != 1:
            raise ValueError("give one of checkpoint, preset and sizes")
        return self


class _Source(Section):
    """rate: how often this source is drawn from, as a share of all rates."""

    rate: Positive = 1.0


class GroundedSource(_Source):
    """GranD-f: `grandf` (human-annotated, and OpenPSG), `grandf-refcocog` or `grandf-flickr`."""

    kind: Literal["grandf", "grandf-refcocog", "grandf-flickr"]
    annotations: Path
    images: Path


class RefcocoSource(_Source):
    """RefCOCO, + or g, as questions for masks (`refcoco`) or about boxes (`refcoco-regions`)."""

    kind: Literal["refcoco", "refcoco-regions"]
    references: Path
    instances: Path
    images: Path
    split: str = "train"


class TextSource(_Source):
    """COCO's captions (`coco-captions`), or LLaVA-Instruct's conversations (`llava-instruct`)."""

    kind: Literal["coco-captions", "llava-instruct"]
    annotations: Path
    images: Path


class SemanticSource(_Source):
    """ADE20K, COCO-Stuff and the like: see `training.data.semantic`."""

    kind: Literal["semantic"]
    labels: Path
    images: Path
    classes: Path


class ScenesSource(_Source):
    """Composed scenes with conversations of all tasks, drawn as they are needed; in validation, with captions alone."""

    kind: Literal["scenes"]
    split: Split = "train"
    first: Natural = 0
    count: Count


Source = Annotated[
    GroundedSource | RefcocoSource | TextSource | SemanticSource | ScenesSource, Field(discriminator="kind")
]
Sources = Annotated[list[Source], Field(min_length=1)]


class LoraConfig(Section):
    """Low-rank adapters on the LLM's named layers; merged into its weights when training ends."""

    r: Count = 8
    alpha: Count = 16
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.05
    targets: Annotated[list[str], Field(min_length=1)] = ["q_proj", "v_proj"]


class TrainedConfig(Section):
    """What learns; all else stays as it is."""

    lora: LoraConfig | None = None
    parts: list[Part] | Literal["everything"] = []

    @model_validator(mode="after")
    def _something_once(self) -> Self:
        if self.lora is None and not self.parts:
            raise ValueError("nothing would be trained: give lora, parts or both")
        if self.lora is not None and (self.parts == "everything" or "llm" in self.parts):
            raise ValueError("lora adapts an LLM that stays frozen; leave it out where the LLM is trained whole")
        return self


class OptimiserConfig(Section):
    """AdamW."""

    rate: Positive = 3e-4
    betas: tuple[Number, Number] = (0.9, 0.95)
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    clip_norm: Positive = 1.0


class ScheduleConfig(Section):
    """steps: of the optimiser. The rate rises over `warmup` steps, then falls to nothing, or stays (`constant`)."""

    steps: Count
    warmup: Natural = 100
    decay: Literal["linear", "cosine", "constant"] = "linear"


class BatchConfig(Section):
    """max_length: positions of a conversation, the picture's tokens among them. workers: that prepare batches."""

    per_device: Count = 2
    accumulation: Count = 10
    max_length: Count = 1536
    workers: Natural = 2


class LossConfig(Section):
    text: Annotated[Number, Field(ge=0)] = TEXT_WEIGHT
    bce: Annotated[Number, Field(ge=0)] = BCE_WEIGHT
    dice: Annotated[Number, Field(ge=0)] = DICE_WEIGHT


class ValidationConfig(Section):
    """Every `every` steps: the losses on `samples` samples of the sources, and of the grounded captions among these
    the first `captions` are generated, for the masks' mIoU.
    """

    every: Count
    data: Sources
    samples: Count = 200
    captions: Natural = 50
    max_new_tokens: Count = 256


class TrainingConfig(Section):
    """Paths count from the working directory."""

    output: Path
    model: ModelConfig
    data: Sources
    trained: TrainedConfig
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig
    batch: BatchConfig = BatchConfig()
    losses: LossConfig = LossConfig()
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    gradient_checkpointing: bool = False
    device: Literal["auto", "cpu"] = "auto"
    validation: ValidationConfig | None = None
    save_every: Count = 500
    log_every: Count = 10
    seed: Natural = 0

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises InvalidInput naming the first field at fault."""
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidInput("config", f"{path}: {error.strerror}", "give the path of a YAML file") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InvalidInput("config", f"{path} is not YAML: {error}", "correct the file") from error
        return cls.checked(path, content)

    @classmethod
    def checked(cls, path: Path, content: Any) -> Self:
        try:
            # JSON has no paths and tuples either, so that strictness accepts text and lists for them.
            return cls.model_validate_json(json.dumps(content, default=str))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "config"
            raise InvalidInput(field, f"{path}: {first['msg']}", "see docs/training.md for the fields") from error

    def same_run(self) -> dict[str, Any]:
        """What must not change between a run and its resumption."""
        return self.model_dump(
            mode="json", include={"model", "data", "trained", "optimiser", "batch", "losses", "seed"}
        )
