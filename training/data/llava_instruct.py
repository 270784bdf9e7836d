"""LLaVA-Instruct: a list of {`image`, `conversations`: [{`from`: "human" or "gpt", `value`}, …]}, strictly alternating.

`<image>` stands in a first question to say where the picture enters; the conversation template has its own place.
"""

from pathlib import Path
from typing import Annotated, Literal

from numpy.random import Generator
from pydantic import BaseModel, Field

from training.data.records import picture, read_list
from training.data.sample import DataError, Dataset, Sample, Turn


class Message(BaseModel):
    speaker: Annotated[Literal["human", "gpt"], Field(alias="from")]
    value: str


class Record(BaseModel):
    image: str
    conversations: Annotated[list[Message], Field(min_length=2)]


class Instructions(Dataset):
    def __init__(self, annotations: Path, images: Path) -> None:
        self.source = annotations
        self._records = [
            (
                picture(images, record.image, annotations, index, "image"),
                _turns(annotations, index, record.conversations),
            )
            for index, record in enumerate(read_list(annotations, Record))
        ]

    def __len__(self) -> int:
        return len(self._records)

    def sample(self, index: int, rng: Generator) -> Sample:
        path, turns = self._records[index]
        return Sample(path, turns, self.source, index)


def _turns(source: Path, index: int, messages: list[Message]) -> tuple[Turn, ...]:
    for position, message in enumerate(messages):
        expected = ("human", "gpt")[position % 2]
        if message.speaker != expected:
            field = f"conversations.{position}.from"
            raise DataError(source, index, field, f"{message.speaker!r} speaks where {expected!r} should")
    # A last question that nobody answered teaches nothing.
    return tuple(
        Turn(question.value.replace("<image>", "").strip(), answer.value.strip())
        for question, answer in zip(messages[::2], messages[1::2], strict=False)
    )
