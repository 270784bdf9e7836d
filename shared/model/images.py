"""What CLIP and SAM see of an image: the towers' own preprocessing, on PIL images."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
SAM_MEAN = (123.675, 116.28, 103.53)
SAM_STD = (58.395, 57.12, 57.375)


def clip_pixels(image: Image.Image, size: int) -> Tensor:
    """Shortest side to `size` (bicubic), centre crop, normalised: (3, size, size). As CLIPImageProcessor does."""
    height, width = covering_size(image.height, image.width, size)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (resized.width - size) // 2, (resized.height - size) // 2
    crop = resized.crop((left, top, left + size, top + size))
    return _normalised(np.asarray(crop, dtype=np.float32) / 255, CLIP_MEAN, CLIP_STD)


def sam_pixels(image: Image.Image, size: int) -> Tensor:
    """Longest side to `size` (bilinear), normalised, zeros to the right and below: (3, size, size)."""
    height, width = resized_size(image.height, image.width, size)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    padded = torch.zeros(3, size, size)
    padded[:, :height, :width] = _normalised(np.asarray(resized, dtype=np.float32), SAM_MEAN, SAM_STD)
    return padded


def covering_size(height: int, width: int, size: int) -> tuple[int, int]:
    """(height, width) of an image once its shortest side is `size`."""
    # In whole numbers: a factor in floating point would make a side of 504 one of 503, as of 240 × 360 at 336.
    shortest = min(height, width)
    return height * size // shortest, width * size // shortest


def resized_size(height: int, width: int, size: int) -> tuple[int, int]:
    """(height, width) of an image once its longest side is `size`; at least one pixel each."""
    scale = size / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def _normalised(pixels: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    scaled = (pixels - np.asarray(mean, dtype=np.float32)) / np.asarray(std, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1), dtype=np.float32))
