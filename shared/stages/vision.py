"""The vision stage: images and boxes → global tokens, region tokens and the SAM embedding."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from shared.model import parts
from shared.model.checkpoint import fingerprint, load_part, read_config
from shared.model.config import GlammConfig
from shared.model.images import clip_pixels, sam_pixels
from shared.model.vision_encoders import VisionEncoders
from shared.tasks import Box


@dataclass(frozen=True)
class ImageInput:
    """clip, sam: (3, S, S) pixels as each tower wants them; boxes: (n, 4) xyxy in 0..1 of the original image.

    keep_levels: whether the hidden states that the region encoder reads are wanted too, for boxes that come later.
    """

    clip: Tensor
    sam: Tensor
    boxes: Tensor
    keep_levels: bool = False


@dataclass(frozen=True)
class RegionInput:
    """Boxes on an image that was encoded before. levels: (k, t, width), shallow to deep; boxes as in ImageInput."""

    levels: Tensor
    boxes: Tensor


VisionInput = ImageInput | RegionInput


@dataclass(frozen=True)
class VisionOutput:
    """On the CPU; None for what was not asked for.

    global_tokens: (t, width); region_tokens: (n, hidden); sam_embedding: (D, g, g); levels: as RegionInput takes them.
    """

    global_tokens: Tensor | None = None
    sam_embedding: Tensor | None = None
    region_tokens: Tensor | None = None
    levels: Tensor | None = None


class VisionStage:
    def __init__(self, encoders: VisionEncoders, config: GlammConfig, fingerprint: str) -> None:
        self.encoders, self.config, self.fingerprint = encoders, config, fingerprint
        parameter = next(encoders.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype

    @classmethod
    def load(
        cls, checkpoint: Path, device: torch.device, dtype: torch.dtype = torch.float32, compiled: bool = False
    ) -> Self:
        """compiled: by torch.compile, at the first run. Raises CheckpointError where the folder lacks this part."""
        encoders = load_part(checkpoint, "vision", parts.vision, device, dtype)
        if compiled:
            # The region encoder stays as it is: every number of boxes would be another shape to compile for.
            encoders.clip.compile()
            encoders.grounding.compile()
        return cls(encoders, read_config(checkpoint), fingerprint(checkpoint))

    def prepare(self, image: Image.Image, boxes: Sequence[Box] = (), keep_levels: bool = False) -> ImageInput:
        """Preprocessing on the CPU, safe in any thread. image: RGB; boxes: xyxy pixels of it."""
        return ImageInput(
            clip=clip_pixels(image, self.config.clip.image_size),
            sam=sam_pixels(image, self.config.sam.image_size),
            boxes=normalised(boxes, image.width, image.height),
            keep_levels=keep_levels,
        )

    @torch.inference_mode()
    def run(self, batch: Sequence[VisionInput]) -> list[VisionOutput]:
        images = {index: item for index, item in enumerate(batch) if isinstance(item, ImageInput)}
        levels = {index: item.levels for index, item in enumerate(batch) if isinstance(item, RegionInput)}
        encoded: dict[int, tuple[Tensor, Tensor]] = {}
        if images:
            encoded, found = self._encode(images)
            levels |= found
        boxed = [index for index, item in enumerate(batch) if len(item.boxes)]
        regions = self._regions([levels[index] for index in boxed], [batch[index].boxes for index in boxed])
        tokens = dict(zip(boxed, regions, strict=True))
        return [
            VisionOutput(
                global_tokens=encoded[index][0].cpu() if index in encoded else None,
                sam_embedding=encoded[index][1].cpu() if index in encoded else None,
                region_tokens=tokens[index].cpu() if index in tokens else None,
                levels=levels[index].cpu() if index in images and images[index].keep_levels else None,
            )
            for index in range(len(batch))
        ]

    def _encode(self, images: dict[int, ImageInput]) -> tuple[dict[int, tuple[Tensor, Tensor]], dict[int, Tensor]]:
        """Global tokens and SAM embedding of each image, and the levels of those that need or want them."""
        wanting = [row for row, item in enumerate(images.values()) if len(item.boxes) or item.keep_levels]
        states = self.config.region.levels if wanting else ()
        pixels = self._on_device([item.clip for item in images.values()])
        global_tokens, *deep_to_shallow = self.encoders.clip(pixels, [self.config.clip.select_layer, *states])
        embeddings = self.encoders.grounding(self._on_device([item.sam for item in images.values()]))
        keys = list(images)
        levels = {keys[row]: torch.stack([state[row] for state in reversed(deep_to_shallow)]) for row in wanting}
        return dict(zip(keys, zip(global_tokens, embeddings, strict=True), strict=True)), levels

    def _regions(self, levels: Sequence[Tensor], boxes: Sequence[Tensor]) -> list[Tensor]:
        """One (n, hidden) for each image with boxes."""
        if not boxes:
            return []
        by_depth = list(self._on_device(levels).unbind(1))
        tokens: list[Tensor] = self.encoders.region(by_depth, [each.to(self._device) for each in boxes])
        return tokens

    def _on_device(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.stack([tensor.to(self._device, self._dtype) for tensor in tensors])


def normalised(boxes: Sequence[Box], width: int, height: int) -> Tensor:
    """xyxy in pixels of an image → (n, 4) in 0..1 of it."""
    scale = torch.tensor([width, height] * 2, dtype=torch.float32)
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) / scale
