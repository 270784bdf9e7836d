"""Small files in the public data sets' forms, with masks that a test can check."""

import json
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


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path
