"""A split's scenes as a folder that others can read: pictures, GranD-f annotations, the ground truth of each task."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from PIL import Image

from shared.masks import Box, Mask, box_of, encode
from training.language.captions import caption, gcg
from training.language.grounded import GroundedCaption
from training.language.questions import vqa
from training.language.referring import refseg
from training.language.regions import region_caption
from training.language.usage import Usage
from training.language.world import usage
from training.scenes.compose import SIDE, Purpose, scene, scene_generator
from training.scenes.scene import Scene, Split
from training.scenes.sprites import SpriteLibrary

IMAGES, ANNOTATIONS = "images", "annotations.json"
EXPRESSIONS, REGIONS, QUESTIONS = 2, 2, 3
"""Of each scene, at most: what is drawn twice is written once."""


@dataclass(frozen=True)
class SceneSet:
    """split and first number of its scenes, and how many."""

    split: Split
    first: int
    count: int

    def scenes(self, library: SpriteLibrary | None, side: int) -> Iterator[tuple[int, Scene]]:
        for number in range(self.first, self.first + self.count):
            yield number, scene(number, self.split, library, side, side)


def write(chosen: SceneSet, folder: Path, library: SpriteLibrary | None = None, side: int = SIDE) -> Iterator[Path]:
    """Write the set's files into a folder, which is made; gives each picture's path once it is there.

    docs/evaluation.md tells the files' forms. The annotations come last, in one piece each.
    """
    pictures = folder / IMAGES
    pictures.mkdir(parents=True, exist_ok=True)
    records = _Records(chosen.split)
    for number, made in chosen.scenes(library, side):
        path = pictures / f"{chosen.split}_{number:07d}.png"
        Image.fromarray(made.image).save(path)
        records.add(path.name, number, made)
        yield path
    records.write(folder)


class _Records:
    def __init__(self, split: Split) -> None:
        self._split = split
        self._usage: Usage = usage(split)
        self._annotations = list[dict[str, Any]]()
        self._images = list[dict[str, Any]]()
        self._masks = list[dict[str, Any]]()
        self._captions = list[dict[str, Any]]()
        self._tasks: dict[str, list[dict[str, Any]]] = {
            "caption": [],
            "refseg": [],
            "region_caption": [],
            "vqa": [],
        }

    def add(self, file_name: str, number: int, made: Scene) -> None:
        image_id = Path(file_name).stem
        height, width = made.background_mask.shape
        names = {"image_id": image_id, "file_name": file_name}
        self._images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
        said = gcg(made, self._usage, self._rng(number, Purpose.GCG))
        self._annotations.append(_grandf(file_name, said))
        self._captions.append(
            {"id": len(self._captions), "image_id": image_id, "caption": said.text}
            | {"labels": [phrase.text for phrase in said.phrases]}
        )
        for phrase in said.phrases:
            self._masks.append(_instance(len(self._masks), image_id, phrase.mask))
        rng = self._rng(number, Purpose.CAPTION)
        self._tasks["caption"].append(names | {"caption": caption(made, self._usage, rng)})
        self._tasks["refseg"] += [names | entry for entry in self._expressions(number, made)]
        self._tasks["region_caption"] += [names | entry for entry in self._regions(number, made)]
        self._tasks["vqa"] += [names | entry for entry in self._questions(number, made)]

    def write(self, folder: Path) -> None:
        category = [{"id": 1, "name": "phrase"}]
        truth = folder / "gcg"
        truth.mkdir(exist_ok=True)
        _write(folder / ANNOTATIONS, self._annotations)
        _write(
            truth / f"{self._split}_gcg_coco_mask_gt.json",
            {"images": self._images, "annotations": self._masks, "categories": category},
        )
        _write(
            truth / f"{self._split}_gcg_coco_caption_gt.json", {"images": self._images, "annotations": self._captions}
        )
        for name, entries in self._tasks.items():
            _write(folder / f"{name}.json", entries)

    def _expressions(self, number: int, made: Scene) -> Iterator[dict[str, Any]]:
        rng, met = self._rng(number, Purpose.REFSEG), set[str]()
        for _ in range(EXPRESSIONS):
            found = refseg(made, self._usage, rng)
            if found.expression.lower() not in met:
                met.add(found.expression.lower())
                mask = None if found.mask is None else _rle(found.mask)
                yield {"expression": found.expression, "segmentation": mask, "kind": found.kind}

    def _regions(self, number: int, made: Scene) -> Iterator[dict[str, Any]]:
        rng, met = self._rng(number, Purpose.REGION), set[int]()
        for _ in range(REGIONS):
            found = region_caption(made, self._usage, rng)
            if found.about not in met:
                yield {
                    "region_id": len(met),
                    "bbox": _xywh(found.box),
                    "caption": found.answer,
                    "category": found.category,
                }
                met.add(found.about)

    def _questions(self, number: int, made: Scene) -> Iterator[dict[str, Any]]:
        rng, met = self._rng(number, Purpose.VQA), set[tuple[str, Box | None]]()
        for _ in range(QUESTIONS):
            found = vqa(made, self._usage, rng)
            if (found.question, found.box) not in met and not found.masks:
                box = None if found.box is None else _xywh(found.box)
                yield {
                    "question_id": len(met),
                    "question": found.question,
                    "bbox": box,
                    "answer": found.answer,
                    "type": found.kind,
                }
                met.add((found.question, found.box))

    def _rng(self, number: int, purpose: Purpose) -> Generator:
        return scene_generator(number, self._split, purpose)


def _grandf(file_name: str, said: GroundedCaption) -> dict[str, Any]:
    groundings = {
        phrase.text: {"token_positives": [phrase.start, phrase.end], "rle_masks": [_rle(phrase.mask)]}
        for phrase in said.phrases
    }
    return {"file_name": file_name, "caption": said.text, "groundings": groundings}


def _instance(number: int, image_id: str, mask: Mask) -> dict[str, Any]:
    box = box_of(mask)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "segmentation": _rle(mask),
        "area": int(np.count_nonzero(mask)),
        "bbox": [0, 0, 0, 0] if box is None else _xywh(box),
        "iscrowd": 0,
    }


def _rle(mask: Mask) -> dict[str, Any]:
    """COCO's compressed run lengths, in the form of its JSON files."""
    rle = encode(mask)
    return {"size": [rle.height, rle.width], "counts": rle.counts}


def _xywh(box: Box) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def _write(path: Path, content: Any) -> None:
    """In one move, so that a reader meets a whole file or none."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content) + "\n", encoding="utf-8")
    partial.replace(path)
