"""YOLO segmentation: a text file an image with a line for each mask, class and polygon, and `data.yaml`."""

from collections.abc import Iterable
from contextlib import ExitStack
from itertools import groupby
from pathlib import PurePosixPath
from typing import IO

import numpy as np

from services.scheduler.exports.archive import Archive, Sink
from services.scheduler.exports.names import Names, category
from services.scheduler.exports.polygons import polygon
from services.scheduler.exports.records import ExportedImage, ExportedJob
from services.scheduler.exports.runs import cropped
from services.scheduler.exports.scratch import Scratch
from services.scheduler.exports.spool import Index, to_json
from shared.masks import Rle


def write(jobs: Iterable[ExportedJob], out: IO[bytes], scratch: Scratch) -> None:
    """jobs: those of one image follow each other."""
    with Archive(out, scratch) as archive:
        names = Names(scratch)
        index = Index(scratch)
        for image, on_image in groupby(jobs, key=lambda job: job.image):
            with ExitStack() as labels:
                # An image without masks has no file. One of many jobs may have one of any length.
                entry: Sink | None = None
                for job in on_image:
                    index.add(job)
                    for _, phrase in job.masks:
                        entry = entry or labels.enter_context(archive.entry(_label_file(image)))
                        line = f"{names.number(category(phrase.text))} {outline(phrase.rle)}\n"
                        entry.write(line.encode())
        with archive.entry("data.yaml") as entry:
            entry.write(b"path: .\ntrain: images\nval: images\nnames:\n")
            for number, name in names:
                # A JSON string is one of YAML's.
                entry.write(b"  %d: %s\n" % (number, to_json(name)))
        with archive.entry(Index.NAME) as entry:
            index.copy_to(entry)


def outline(rle: Rle) -> str:
    """`x1 y1 x2 y2 …`, in shares of the image's sides. The mask must have pixels."""
    inside, left, top = cropped(rle)
    corners = (polygon(inside) + np.array([left, top])) / np.array([rle.width, rle.height])
    return " ".join(f"{share:.6g}" for share in corners.ravel().tolist())


def _label_file(image: ExportedImage) -> str:
    return f"labels/{PurePosixPath(image.file_name).stem}.txt"
