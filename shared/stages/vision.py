"""The vision stage: images and boxes → global tokens, region tokens and the SAM embedding."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from shared.masks import Box
from shared.model import parts
from shared.model.checkpoint import fingerprint, load_part, read_config
from shared.model.config import GlammConfig
from shared.model.images import clip_pixels, sam_pixels
from shared.model.parts import VisionEncoders


@dataclass(frozen=True)
class VisionInput:
    """clip, sam: (3, S, S) pixels as each tower wants them; boxes: (n, 4) xyxy in 0..1 of the original image."""

    clip: Tensor
    sam: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class VisionOutput:
    """On the CPU. global_tokens: (t, width); region_tokens: (n, hidden) or None; sam_embedding: (D, g, g)."""

    global_tokens: Tensor
    region_tokens: Tensor | None
    sam_embedding: Tensor


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

    def prepare(self, image: Image.Image, boxes: Sequence[Box] = ()) -> VisionInput:
        """Preprocessing on the CPU, safe in any thread. image: RGB; boxes: xyxy pixels of it."""
        scale = torch.tensor([image.width, image.height] * 2, dtype=torch.float32)
        return VisionInput(
            clip=clip_pixels(image, self.config.clip.image_size),
            sam=sam_pixels(image, self.config.sam.image_size),
            boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) / scale,
        )

    @torch.inference_mode()
    def run(self, batch: Sequence[VisionInput]) -> list[VisionOutput]:
        clip = self._on_device([item.clip for item in batch])
        boxed = [index for index, item in enumerate(batch) if len(item.boxes)]
        levels = self.config.region.levels if boxed else ()
        global_tokens, *states = self.encoders.clip(clip, [self.config.clip.select_layer, *levels])
        regions: dict[int, Tensor] = {}
        if boxed:
            shallow_to_deep = [state[boxed] for state in reversed(states)]
            boxes = [batch[index].boxes.to(self._device) for index in boxed]
            regions = dict(zip(boxed, self.encoders.region(shallow_to_deep, boxes), strict=True))
        embeddings = self.encoders.grounding(self._on_device([item.sam for item in batch]))
        return [
            VisionOutput(
                global_tokens=global_tokens[index].cpu(),
                region_tokens=regions[index].cpu() if index in regions else None,
                sam_embedding=embeddings[index].cpu(),
            )
            for index in range(len(batch))
        ]

    def _on_device(self, pixels: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(pixels)).to(self._device, self._dtype)
