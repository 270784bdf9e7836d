"""The region encoder: multi-level CLIP features, fused across levels, pooled by RoIAlign to one token a box.

Follows the released implementation step by step (GPT4RoI's spatial encoder); attribute names keep its key names.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from shared.model.clip import as_maps
from shared.model.config import ClipConfig, RegionConfig

GROUPS = 64


class RegionEncoder(nn.Module):
    def __init__(self, region: RegionConfig, clip: ClipConfig, out_width: int) -> None:
        super().__init__()
        if len(region.levels) != len(region.scales):
            raise ValueError(f"region: {len(region.levels)} levels but {len(region.scales)} scales")
        self.grid = clip.grid
        self.mlvl_fuse = PyramidFusion(clip.width, region.scales, region.rounds)
        self.roi_align = RegionPooling(
            clip.width,
            out_width,
            strides=[region.stride / scale for scale in region.scales],
            pooled=region.pooled,
            image_size=region.roi_image_size,
            position_width=region.position_width,
            query_width=region.query_width or clip.width,
        )

    def forward(self, levels: Sequence[Tensor], boxes: Sequence[Tensor]) -> list[Tensor]:
        """One token a box.

        levels: CLIP hidden states shallow to deep, each (b, grid², width).
        boxes: for each image (n, 4) xyxy in 0..1 of the original image → for each image (n, out_width).
        """
        maps = self.mlvl_fuse([as_maps(level, self.grid) for level in levels])
        tokens: Tensor = self.roi_align(maps, boxes)
        return list(torch.split(tokens, [len(image_boxes) for image_boxes in boxes]))


class PyramidFusion(nn.Module):
    """Resizes CLIP's equal-sized maps to a pyramid and exchanges channels between neighbouring levels."""

    def __init__(self, width: int, scales: Sequence[int], rounds: int) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.input_conv = nn.ModuleList(nn.Conv2d(width + 2, width, 1) for _ in scales)
        self.fuse_convs = nn.ModuleList(ConvNormRelu(width) for _ in range(rounds))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """maps: one (b, width, grid, grid) a level, shallow to deep → the same at scales[i] · grid."""
        pyramid = []
        for conv, level, scale in zip(self.input_conv, maps, self.scales, strict=True):
            side = level.shape[-1] * scale
            pyramid.append(conv(with_coordinates(resize(level, side))))
        for conv in self.fuse_convs:
            pyramid = [conv(exchange_channels(pyramid, index)) for index in range(len(pyramid))]
        return pyramid


class ConvNormRelu(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.gn = nn.GroupNorm(GROUPS, width)

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.gn(self.conv(maps)))


class RegionPooling(nn.Module):
    """RoIAlign on every level, summed and flattened to one vector a box, plus an embedding of the box itself."""

    def __init__(
        self,
        width: int,
        out_width: int,
        strides: Sequence[float],
        pooled: int,
        image_size: int,
        position_width: int,
        query_width: int,
    ) -> None:
        super().__init__()
        self.strides, self.pooled, self.image_size = tuple(strides), pooled, image_size
        self.pconvs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in strides)
        self.pos_embedd = nn.Sequential(
            nn.Linear(4, position_width),
            nn.ReLU(),
            nn.LayerNorm(position_width),
            nn.Linear(position_width, query_width),
            nn.ReLU(),
            nn.LayerNorm(query_width),
        )
        self.updims = nn.Linear(query_width, out_width)
        self.flatten_linear = nn.Linear(width * pooled**2, query_width)

    def forward(self, pyramid: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """boxes: for each image (n, 4) xyxy in 0..1 → (all boxes, out_width), image by image."""
        # Pooled in float32: box coordinates lose whole pixels in half precision.
        scaled = [image_boxes.float() * self.image_size for image_boxes in boxes]
        summed = torch.zeros((), device=pyramid[0].device)
        for conv, level, stride in zip(self.pconvs, pyramid, self.strides, strict=True):
            pooled = roi_align(level.float(), scaled, self.pooled, 1 / stride, sampling_ratio=2, aligned=True)
            summed = summed + conv(pooled.to(level.dtype))
        vectors = self.flatten_linear(F.relu(summed).flatten(1))
        positions = self.pos_embedd(torch.cat(list(boxes)).to(vectors.dtype))
        tokens: Tensor = self.updims(vectors + positions)
        return tokens


def resize(maps: Tensor, side: int) -> Tensor:
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=True)


def with_coordinates(maps: Tensor) -> Tensor:
    """Appends an x and a y channel, each running from -1 to 1."""
    b, _, h, w = maps.shape
    x = torch.linspace(-1, 1, w, device=maps.device, dtype=maps.dtype).expand(b, 1, h, w)
    y = torch.linspace(-1, 1, h, device=maps.device, dtype=maps.dtype)[:, None].expand(b, 1, h, w)
    return torch.cat([maps, x, y], dim=1)


def exchange_channels(pyramid: Sequence[Tensor], index: int) -> Tensor:
    """Keeps a level's first half; the third quarter comes from the next deeper level, the last from the shallower."""
    level = pyramid[index]
    deeper = pyramid[min(index + 1, len(pyramid) - 1)]
    shallower = pyramid[max(index - 1, 0)]
    half, quarter = level.shape[1] // 2, level.shape[1] // 4
    side = level.shape[-1]
    return torch.cat(
        [level[:, :half], resize(deeper[:, half + quarter :], side), resize(shallower[:, half : half + quarter], side)],
        dim=1,
    )
