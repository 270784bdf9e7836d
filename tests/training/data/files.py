"""Small files in the public data sets' forms, with masks that a test can check."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

HEIGHT, WIDTH = 40, 60


def block(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    """(HEIGHT, WIDTH) bool, true inside the rectangle."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[y1:y2, x1:x2] = True
    return mask


def rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run lengths, as JSON files hold them."""
    coded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": coded["counts"].decode("ascii")}


def polygon(x1: int, y1: int, x2: int, y2: int) -> list[float]:
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def reference(ref_id: int, ann_id: int, *sentences: str, split: str = "train", image_id: int = 1) -> dict[str, Any]:
    """A record of RefCOCO."""
    said = [{"sent": text, "raw": text, "tokens": text.split(), "sent_id": n} for n, text in enumerate(sentences)]
    return {
        "ref_id": ref_id,
        "ann_id": ann_id,
        "image_id": image_id,
        "split": split,
        "category_id": 1,
        "file_name": "COCO_train2014_000000000001_1.jpg",
        "sentences": said,
    }


def write_refcoco(folder: Path) -> tuple[Path, Path]:
    """The references and the instances of a set in the folder.

    Two objects in picture one, of which the second as run lengths, for training; a third in picture two, for testing.
    """
    size = {"height": HEIGHT, "width": WIDTH}
    instances = {
        "images": [{"id": 1, "file_name": "one.jpg", **size}, {"id": 2, "file_name": "two.jpg", **size}],
        "annotations": [
            {"id": 11, "image_id": 1, "bbox": [0, 0, 20, 40], "segmentation": [polygon(0, 0, 20, 40)]},
            {"id": 12, "image_id": 1, "bbox": [30, 10, 30, 30], "segmentation": rle(block(30, 10, 60, 40))},
            {"id": 13, "image_id": 2, "bbox": [5, 5, 10, 10], "segmentation": [polygon(5, 5, 15, 15)]},
        ],
    }
    references = [
        reference(1, 11, "left cat", "the cat on the left"),
        reference(2, 12, "right cat"),
        reference(3, 13, "a small cat", split="testA", image_id=2),
    ]
    path = folder / "refs(unc).p"
    # As Python 2 wrote them.
    path.write_bytes(pickle.dumps(references, protocol=0))
    return path, write(folder / "instances.json", instances)


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path
