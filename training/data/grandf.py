"""GranD-f's human-annotated file and OpenPSG's (`GranDf_HA_GCG_train.json`, `OpenPsgGCG_train.json`): one form.

A list of {`file_name`, `caption`, `groundings`: {phrase: {`token_positives`: [start, end], `rle_masks`: [RLE, …]}}};
the masks of a phrase are united.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from training.data.grounded import GroundedCaption, Phrase, require_span
from training.data.records import picture, read_list
from training.data.segmentation import CocoMask, Rle


class Grounding(BaseModel):
    token_positives: tuple[int, int]
    rle_masks: Annotated[list[Rle], Field(min_length=1)]


class Record(BaseModel):
    file_name: str
    caption: str
    groundings: dict[str, Grounding]


def read(annotations: Path, images: Path) -> list[GroundedCaption]:
    """Raises DataError. images: the folder that `file_name` counts from."""
    captions = []
    for index, record in enumerate(read_list(annotations, Record)):
        # The positions count from the first letter inside the quotation marks that some captions stand in.
        caption = record.caption.strip('"').strip()
        phrases = []
        for name, found in record.groundings.items():
            field = f"groundings.{name}.token_positives"
            require_span(annotations, index, field, found.token_positives, caption)
            phrases.append(Phrase(*found.token_positives, CocoMask(tuple(found.rle_masks))))
        path = picture(images, record.file_name, annotations, index, "file_name")
        captions.append(GroundedCaption(index, path, caption, tuple(phrases)))
    return captions
