"""GranD-f's Flickr30k part (`flickr_mergedGT_GCG_train.json`), in COCO's form.

`images` carry their `caption`; `annotations` the phrase as `tokens_positive` [[start, end], …] of that caption, a
`bbox` (xywh) and a `sam_mask` (RLE). Several annotations of one phrase, as for "two men", make one mask together.
"""

from collections import defaultdict
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from training.data.grounded import GroundedCaption, Phrase, require_span
from training.data.records import checked, load, picture
from training.data.sample import DataError
from training.data.segmentation import CocoMask, Rle

LEAST_WORDS = 3
LEAST_SIDE = 32
"""Pixels of a picture's shorter side."""


class Image(BaseModel):
    id: int
    file_name: str
    caption: str
    height: int
    width: int


class Annotation(BaseModel):
    image_id: int
    tokens_positive: Annotated[list[tuple[int, int]], Field(min_length=1)]
    bbox: tuple[float, float, float, float]
    sam_mask: Rle
    ignore: bool = False


class Content(BaseModel):
    images: list[Image]
    annotations: list[Annotation]


Pieces = dict[int, dict[tuple[int, int], list[Rle]]]


def read(annotations: Path, images: Path) -> list[GroundedCaption]:
    """Raises DataError. Captions under LEAST_WORDS and pictures under LEAST_SIDE are left out, as in the paper's code.

    images: the folder that `file_name` counts from.
    """
    content = checked(annotations, load(annotations), Content)
    pieces = _pieces(annotations, content)
    captions = []
    for index, image in enumerate(content.images):
        path = picture(images, image.file_name, annotations, index, "images.file_name")
        if len(image.caption.split()) >= LEAST_WORDS and min(image.width, image.height) >= LEAST_SIDE:
            phrases = tuple(Phrase(*span, CocoMask(tuple(rles))) for span, rles in pieces[image.id].items())
            captions.append(GroundedCaption(index, path, image.caption, phrases))
    return captions


def _pieces(source: Path, content: Content) -> Pieces:
    """The masks of every phrase of every picture, by the picture's id and the phrase's characters."""
    captions = {image.id: image.caption for image in content.images}
    pieces: Pieces = defaultdict(lambda: defaultdict(list))
    for index, annotation in enumerate(content.annotations):
        if annotation.image_id not in captions:
            raise DataError(source, index, "annotations.image_id", f"no image has the id {annotation.image_id}")
        span = annotation.tokens_positive[0]
        require_span(source, index, "annotations.tokens_positive", span, captions[annotation.image_id])
        # A box of less than a pixel has no mask worth the name.
        if not annotation.ignore and min(annotation.bbox[2:]) >= 1:
            pieces[annotation.image_id][span].append(annotation.sam_mask)
    return pieces
