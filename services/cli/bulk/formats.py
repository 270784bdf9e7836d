"""The forms in which `glamm results` fetches a batch."""

from enum import StrEnum


class Format(StrEnum):
    """jsonl: all that is known of each job; the others hold the jobs that succeeded, in the form that a tool reads."""

    JSONL = "jsonl"
    COCO = "coco"
    GRANDF = "grandf"
    LABELSTUDIO = "labelstudio"
    CVAT = "cvat"
    YOLO_SEG = "yolo-seg"
    MASKS = "masks"
    PARQUET = "parquet"
