"""What every format is written from: a succeeded job with its image and its result."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.jobs import Answer, Phrase, Result
from shared.tasks import Ask, Box, Task

_ENDINGS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}

CAPTIONS = frozenset({Task.GCG, Task.CAPTION, Task.GROUND})
"""The tasks whose answer describes the whole image."""


@dataclass(frozen=True)
class ExportedImage:
    """id: sha256 of its bytes, hex; width, height: pixels of the upright picture."""

    id: str
    media_type: str
    width: int
    height: int

    @property
    def file_name(self) -> str:
        """The same in every format, and the same for whoever has the file: its sha256 with the ending of its type."""
        return self.id + _ENDINGS.get(self.media_type, "")


@dataclass(frozen=True)
class ExportedJob:
    """A job of a batch that has succeeded. line: its position in the batch; model: fingerprint of the weights."""

    id: UUID
    custom_id: str | None
    line: int
    image: ExportedImage
    ask: Ask
    result: Result
    finished_at: datetime

    @property
    def caption(self) -> str | None:
        """What was said of the whole image, by a task that describes it."""
        return self.result.text if self.ask.task in CAPTIONS else None

    @property
    def regions(self) -> list[tuple[Box, str]]:
        """The boxes that were asked about, and the description of each."""
        return [(box, answer.text) for answer, _, box in self.answers if box is not None]

    @property
    def answers(self) -> list[tuple[Answer, str | None, Box | None]]:
        """Each answer with the expression or the box that it is about."""
        said = self.result.answers
        return [(answer, *about) for answer, about in zip(said, self.ask.about(len(said)), strict=True)]

    @property
    def masks(self) -> list[tuple[int, Phrase]]:
        """The phrases that have pixels, with their number among all of the job's."""
        return [(n, phrase) for n, phrase in enumerate(self.result.phrases) if phrase.area]
