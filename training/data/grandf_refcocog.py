"""GranD-f's RefCOCOg part (`RefCOCOg_GCG_train.json`): captions that an LLM made of referring expressions.

A list of {`img_file_name`, `caption`, `refs`: [{`sentence`, `segmentation`: polygons}]}. Where an expression stands in
the caption is not written down: it is searched for, in lower case, and left out if it is not there.
"""

from pathlib import Path

from pydantic import BaseModel

from training.data.grounded import GroundedCaption, Phrase
from training.data.records import picture, read_list
from training.data.segmentation import CocoMask, Segmentation


class Reference(BaseModel):
    sentence: str
    segmentation: Segmentation


class Record(BaseModel):
    img_file_name: str
    caption: str
    refs: list[Reference]


def read(annotations: Path, images: Path) -> list[GroundedCaption]:
    """Raises DataError. images: the folder that `img_file_name` counts from."""
    captions = []
    for index, record in enumerate(read_list(annotations, Record)):
        caption = record.caption.strip('"').strip().lower()
        phrases = tuple(phrase for reference in record.refs if (phrase := _find(caption, reference)) is not None)
        path = picture(images, record.img_file_name, annotations, index, "img_file_name")
        captions.append(GroundedCaption(index, path, caption, phrases))
    return captions


def _find(caption: str, reference: Reference) -> Phrase | None:
    words = reference.sentence.strip().lower()
    start = caption.find(words)
    if start < 0 or not words:
        return None
    return Phrase(start, start + len(words), CocoMask((reference.segmentation,)))
