"""Masks of files: every form of COCO's comes out as the same mask, and a damaged one does not reach pycocotools."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from shared import masks
from shared.masks import Rle
from training.metrics.rle import BadMaskError, parse


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_what_was_encoded_is_read(mask):
    rle = masks.encode(mask)
    assert parse({"size": [rle.height, rle.width], "counts": rle.counts}) == rle


def test_plain_counts_polygons_and_unions_are_read():
    # Columns of 4 pixels: the second and the third are the mask.
    wanted = np.zeros((4, 5), bool)
    wanted[:, 1:3] = True
    left, right = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
    left[:, 1], right[:, 2] = True, True
    halves = [{"size": [4, 5], "counts": masks.encode(half).counts} for half in (left, right)]
    for value in ({"size": [4, 5], "counts": [4, 8, 8]}, [[1, 0, 3, 0, 3, 4, 1, 4]], halves):
        rle = parse(value, (4, 5))
        assert rle is not None
        assert (masks.decode(rle) == wanted).all()
    assert parse(None) is None
    assert parse([]) is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("X", "neither"),
        ({"counts": "0"}, "no size"),
        ({"size": [4, 5], "counts": None}, "no size"),
        ({"size": [4, 0], "counts": ""}, "no size"),
        ({"size": [4, 5], "counts": ""}, "no compressed"),
        ({"size": [4, 5], "counts": "é"}, "no compressed"),
        ({"size": [4, 5], "counts": "oooooooooooooooo0"}, "no compressed"),
        ({"size": [4, 5], "counts": "d"}, "no compressed"),
        ({"size": [4, 5], "counts": "999"}, "do not fill"),
        ({"size": [4, 5], "counts": [4, 8, 9]}, "do not fill"),
        ({"size": [4, 5], "counts": [-4, 24]}, "do not fill"),
        ({"size": [4, 5], "counts": [4, 8.0, 8]}, "whole numbers"),
        ({"size": [100_000, 100_000], "counts": [10_000_000_000]}, "do not fill"),
        ([[1, 0, 3, 0]], "polygon"),
        ({"size": [5, 4], "counts": [20]}, "its image 4 × 5"),
    ],
)
def test_what_is_no_mask_is_told(value, told):
    with pytest.raises(BadMaskError, match=told):
        parse(value, (4, 5))


def test_polygons_need_their_images_size():
    with pytest.raises(BadMaskError, match="height and width"):
        parse([[1, 0, 3, 0, 3, 4]])


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=127), max_size=60))
def test_any_text_is_a_mask_of_its_size_or_an_error(counts):
    try:
        rle = parse({"size": [6, 7], "counts": counts})
    except BadMaskError:
        return
    assert isinstance(rle, Rle)
    assert masks.decode(rle).shape == (6, 7)
