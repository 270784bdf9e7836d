"""What every reader gives: a picture and a conversation about it, with a mask a [SEG] and a box a `<bbox>`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from numpy.random import Generator
from PIL.Image import Image

from shared.errors import InvalidInput
from shared.masks import Box, Mask

REMEDY = "Correct the record or take it out."
_OF_THE_FILE = "Check the path and what the file holds."


class DataError(InvalidInput):
    """A record that cannot be trained on. The message names the file, the record's index in it and the field."""

    def __init__(self, path: Path, index: int | None, field: str | None, reason: str) -> None:
        record = "" if index is None else f", record {index}"
        told = reason if reason.endswith((".", "!", "?")) else f"{reason}."
        super().__init__(field or "data", f"{path}{record}: {told}", _OF_THE_FILE if index is None else REMEDY)


class MaskSource(Protocol):
    """A mask as its file has it, decoded when it is needed."""

    def decode(self, height: int, width: int) -> Mask:
        """(height, width) bool, the picture's size. Raises ValueError where the source does not fit that size."""
        ...


@dataclass(frozen=True)
class Turn:
    """A question and its answer with its markup. masks: one a [SEG] of the answer; boxes: one a `<bbox>` of the
    question, xyxy in pixels of the picture.
    """

    question: str
    answer: str
    masks: tuple[MaskSource, ...] = ()
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Sample:
    """image: a file, or the picture itself where it was made on the spot. source and index say which record of which
    file it was made from.
    """

    image: Path | Image
    turns: tuple[Turn, ...]
    source: Path
    index: int

    def error(self, field: str, reason: str) -> DataError:
        return DataError(self.source, self.index, field, reason)


class Dataset(ABC):
    """Records of one file, or of files that belong together. Reading it has checked every record's form.

    captions: whether each sample is one question that is answered with a grounded caption.
    """

    captions: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def sample(self, index: int, rng: Generator) -> Sample:
        """The record as a conversation. What may be worded or chosen in several ways is drawn from `rng`."""
