"""Run-length masks and what is derived from them."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from shared import masks
from shared.masks import Mask


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.booleans()))
def test_a_mask_survives_every_form(mask: Mask) -> None:
    rle = masks.encode(mask)
    assert (rle.height, rle.width) == mask.shape
    assert np.array_equal(masks.decode(rle), mask)
    png = Image.open(io.BytesIO(masks.to_png(rle)))
    assert png.mode == "L"
    assert np.array_equal(np.asarray(png), mask * np.uint8(255))
    box = masks.box_of(mask)
    if box is None:
        assert not mask.any()
    else:
        x1, y1, x2, y2 = (int(side) for side in box)
        assert mask[y1:y2, x1:x2].sum() == mask.sum() == masks.area(mask)
        assert mask[y1, x1:x2].any()
        assert mask[y2 - 1, x1:x2].any()
        assert mask[y1:y2, x1].any()
        assert mask[y1:y2, x2 - 1].any()


def test_iou() -> None:
    one, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert masks.iou(one, other) == 1.0
    one[:2], other[1:3] = True, True
    assert masks.iou(one, other) == pytest.approx(4 / 12)
