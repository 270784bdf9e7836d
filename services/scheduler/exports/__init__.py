"""The results of a batch as datasets: one module a format, each a function that writes jobs into one file.

A writer takes the jobs as they come from the database, those of one image after each other, and holds no more of
them than a few at a time: what is wanted only later waits in scratch files.
"""

from collections.abc import Callable, Iterable
from typing import IO

from services.scheduler.exports import coco, cvat, grandf, labelstudio, masks, parquet, yolo
from services.scheduler.exports.reading import read
from services.scheduler.exports.records import ExportedImage, ExportedJob
from services.scheduler.exports.scratch import Scratch
from shared.exports import Format

WRITERS: dict[Format, Callable[[Iterable[ExportedJob], IO[bytes], Scratch], None]] = {
    Format.COCO: coco.write,
    Format.GRANDF: grandf.write,
    Format.LABELSTUDIO: labelstudio.write,
    Format.CVAT: cvat.write,
    Format.YOLO_SEG: yolo.write,
    Format.MASKS: masks.write,
    Format.PARQUET: parquet.write,
}
"""Each writes the jobs into a file that can seek."""

__all__ = ["WRITERS", "ExportedImage", "ExportedJob", "Scratch", "read"]
