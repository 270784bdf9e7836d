"""Small files in the reference's formats, for `glamm evaluate`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared import masks


def rle(first: int, last: int, size: tuple[int, int] = (10, 10)) -> dict[str, Any]:
    """Some rows of an image as COCO's RLE object."""
    mask = np.zeros(size, bool)
    mask[first:last] = True
    return {"size": list(size), "counts": masks.encode(mask).counts}


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture
def split(tmp_path) -> Path:
    """Two images of a GranD-f split: two phrases with a mask each."""
    truth = tmp_path / "truth"
    images = [{"id": "sa_1"}, {"id": "sa_2"}]
    there = {"sa_1": (rle(0, 4), rle(4, 10)), "sa_2": (rle(0, 5), rle(6, 8))}
    write(
        truth / "val_gcg_coco_mask_gt.json",
        {
            "images": images,
            "annotations": [
                {"image_id": image, "category_id": 1, "segmentation": mask}
                for image, pair in there.items()
                for mask in pair
            ],
        },
    )
    write(
        truth / "val_gcg_coco_caption_gt.json",
        {
            "images": images,
            "annotations": [
                {"image_id": "sa_1", "caption": "A dog in front of snow.", "labels": ["A dog", "snow"]},
                {"image_id": "sa_2", "caption": "Two cats asleep on a bed.", "labels": ["Two cats", "a bed"]},
            ],
        },
    )
    return truth


@pytest.fixture
def prediction(tmp_path) -> Callable[..., Path]:
    """Writes the one prediction, of the first image, and returns its folder."""

    def make(**changes: object) -> Path:
        told = {
            "image_id": "sa_1",
            "caption": "a dog in front of snow",
            "phrases": ["The dog", "snow"],
            "pred_masks": [rle(0, 4), rle(4, 9)],
        }
        return write(tmp_path / "said" / "sa_1.json", told | changes).parent

    return make
