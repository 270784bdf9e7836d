"""Polygons, filled by the even-odd rule, are the masks again."""

import numpy as np
import yaml
from hypothesis import given

from services.scheduler.exports import ExportedJob, yolo
from services.scheduler.exports.polygons import Points, boundaries, polygon
from shared.masks import Mask
from tests.scheduler.exports.conftest import MASKS
from tests.scheduler.exports.files import block, pixels, unpacked


def filled(corners: Points, height: int, width: int) -> Mask:
    """The pixels whose centre has an odd number of the polygon's edges to its left."""
    mask = np.zeros((height, width), dtype=np.bool_)
    centres = np.arange(width) + 0.5
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        for y in range(height):
            if (y1 <= y + 0.5) != (y2 <= y + 0.5):
                mask[y] ^= centres > x1 + (y + 0.5 - y1) / (y2 - y1) * (x2 - x1)
    return mask


@given(MASKS)
def test_every_mask_comes_back(mask: Mask) -> None:
    np.testing.assert_array_equal(filled(polygon(mask), *mask.shape), mask)


@given(MASKS)
def test_boundaries_turn_at_every_corner_and_are_closed(mask: Mask) -> None:
    for loop in boundaries(mask):
        steps = np.roll(loop, -1, axis=0) - loop
        assert ((steps == 0).sum(axis=1) == 1).all()
        assert (steps[::2, 1] == 0).all()


def test_a_block_is_four_corners_and_a_hole_four_more_and_a_bridge() -> None:
    assert polygon(block(9, 9, (2, 3, 6, 7))).tolist() == [[2, 3], [6, 3], [6, 7], [2, 7]]
    assert len(polygon(block(9, 9, (2, 3, 6, 7), (3, 4, 5, 6)))) == 4 + 4 + 2


def test_an_image_has_a_line_for_each_mask(jobs: list[ExportedJob]) -> None:
    archive = unpacked(yolo.write, jobs)
    sizes = {"labels/" + "a1" * 32 + ".txt": (40, 60), "labels/" + "b2" * 32 + ".txt": (20, 31)}
    found, classes = [], []
    for name, (height, width) in sizes.items():
        for line in archive.read(name).decode().splitlines():
            number, *shares = line.split()
            classes.append(int(number))
            corners = np.array(shares, dtype=float).reshape(-1, 2)
            assert ((corners >= 0) & (corners <= 1)).all()
            found.append(filled(corners * (width, height), height, width))
    for mask, expected in zip(found, pixels(jobs), strict=True):
        np.testing.assert_array_equal(mask, expected)
    data = yaml.safe_load(archive.read("data.yaml"))
    assert [data["names"][number] for number in classes] == ["dog", "dog", "object", "ball", "grass"]
    assert data["train"] == data["val"] == "images"


def test_an_image_without_a_mask_has_no_label_file(jobs: list[ExportedJob]) -> None:
    assert set(unpacked(yolo.write, jobs[1:3]).namelist()) == {"data.yaml", "index.csv"}
