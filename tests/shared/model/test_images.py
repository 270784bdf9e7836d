"""What the towers see of an image, against the code that the reference prepares its images with."""

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything.utils.transforms import ResizeLongestSide
from transformers.image_transforms import get_resize_output_image_size
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from shared.model.images import SAM_MEAN, SAM_STD, clip_pixels, covering_size, resized_size, sam_pixels

SIZES = [(240, 360), (213, 284), (165, 220), (184, 276), (500, 333), (768, 1024), (97, 97), (31, 40), (90, 7)]
"""Height and width. Of the first four, the longer side is whole, which a factor in floating point misses."""
SIDES = range(1, 400, 3)


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [224, 336])
def test_clip_resizes_to_the_size_of_its_own_processor(size: int) -> None:
    for height, width in [*SIZES, *((height, width) for height in SIDES for width in SIDES)]:
        # Of the array only the shape is read.
        array = np.broadcast_to(np.uint8(0), (height, width, 3))
        expected = get_resize_output_image_size(array, size, default_to_square=False, input_data_format="channels_last")
        assert covering_size(height, width, size) == expected, (height, width)
    assert covering_size(240, 360, 336) == (336, 504)


@pytest.mark.parametrize("size", SIZES)
def test_clip_sees_the_pixels_of_its_own_processor(size: tuple[int, int]) -> None:
    processor = CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    (expected,) = processor(noise(*size), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(clip_pixels(noise(*size), 336), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [256, 1024])
def test_sam_resizes_to_the_size_of_its_own_transform(size: int) -> None:
    for height, width in [*SIZES, *((height, width) for height in SIDES for width in SIDES)]:
        expected = ResizeLongestSide.get_preprocess_shape(height, width, size)
        # Where theirs leaves no pixel of a side, they cannot go on, and one is left here.
        assert resized_size(height, width, size) == tuple(max(1, side) for side in expected), (height, width)


@pytest.mark.parametrize("size", SIZES)
def test_sam_sees_the_pixels_of_its_own_transform(size: tuple[int, int]) -> None:
    resized = torch.from_numpy(ResizeLongestSide(256).apply_image(np.asarray(noise(*size)))).permute(2, 0, 1)
    expected = (resized - torch.tensor(SAM_MEAN)[:, None, None]) / torch.tensor(SAM_STD)[:, None, None]
    seen = sam_pixels(noise(*size), 256)
    torch.testing.assert_close(seen[:, : resized.shape[1], : resized.shape[2]], expected, atol=1e-5, rtol=0)
