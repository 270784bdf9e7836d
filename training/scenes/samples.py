"""Scenes written as files: pictures, and their captions and masks in GranD-f's human-annotated form."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from shared.masks import Mask, encode
from training.scenes.compose import Scene, Split, scene
from training.scenes.language import grounded_caption
from training.scenes.sprites import SpriteLibrary

ANNOTATIONS = "annotations.json"


def write_samples(
    out_dir: Path,
    seeds: Iterable[int],
    split: Split = "test",
    library: SpriteLibrary | None = None,
    height: int = 256,
    width: int = 256,
) -> Path:
    """Write one PNG a seed and one JSON list of all annotations into `out_dir`; returns the JSON's path."""
    out_dir.mkdir(parents=True, exist_ok=True)
    records = []
    for seed in seeds:
        drawn = scene(seed, split, library, height, width)
        name = f"{split}_{seed:06d}.png"
        Image.fromarray(drawn.image).save(out_dir / name)
        records.append(_grandf_record(name, drawn))
    path = out_dir / ANNOTATIONS
    path.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    return path


def _grandf_record(file_name: str, drawn: Scene) -> dict[str, Any]:
    said = grounded_caption(drawn)
    groundings = {
        phrase.text: {"token_positives": [phrase.start, phrase.end], "rle_masks": [_rle(phrase.mask)]}
        for phrase in said.phrases
    }
    return {"file_name": file_name, "caption": said.text, "groundings": groundings}


def _rle(mask: Mask) -> dict[str, Any]:
    """COCO's compressed run lengths, in the form of its JSON files."""
    rle = encode(mask)
    return {"size": [rle.height, rle.width], "counts": rle.counts}
