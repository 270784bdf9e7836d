"""The pixel stage's work: the embedding comes from the features store, the masks go into Postgres."""

from collections.abc import Sequence

import numpy as np
import torch
from sqlalchemy import Connection

from shared import jobs
from shared.features import SAM, FeatureStore
from shared.jobs import Answer, Generation, Message, Phrase, Result, Run, Stage, Timing
from shared.stages.pixel import GroundedPhrase, PixelInput, PixelOutput, RawAnswer
from shared.stages.questions import questions
from workers.errors import FeaturesGone
from workers.tensors import unpack
from workers.work import Work


class PixelWork(Work[PixelInput, PixelOutput, Result]):
    stage = Stage.PIXEL

    def __init__(self, fingerprint: str, features: FeatureStore) -> None:
        self._fingerprint = fingerprint
        self._features = features

    def fetch(self, run: Run) -> PixelInput:
        found = self._features.get(run.stored.id, [SAM])
        if SAM not in found:
            raise FeaturesGone(SAM)
        answers = tuple(
            RawAnswer(generation.text, _vectors(generation), question.expression, question.caption)
            for question, generation in zip(questions(run.ask), run.generations, strict=True)
        )
        return PixelInput(unpack(found[SAM]), run.stored.width, run.stored.height, answers)

    def size(self, fetched: PixelInput) -> int:
        return len(fetched.answers)

    def keep(self, run: Run, output: PixelOutput) -> Result:
        answers = tuple(
            Answer(grounded.text, generation.text, tuple(map(_phrase, grounded.phrases)))
            for grounded, generation in zip(output.answers, run.generations, strict=True)
        )
        return Result(answers, self._fingerprint)

    def complete(self, conn: Connection, run: Run, record: Result, timing: Timing) -> Sequence[Message] | None:
        return () if jobs.complete_pixel(conn, run, record, timing) else None


def _phrase(found: GroundedPhrase) -> Phrase:
    return Phrase(text=found.text, span=found.span, rle=found.rle, box=found.box, area=found.area, score=found.score)


def _vectors(generation: Generation) -> torch.Tensor:
    """(vector_count, vector_dim) float32."""
    flat = np.frombuffer(generation.prompt_vectors, dtype="<f4").astype(np.float32)
    return torch.from_numpy(flat.reshape(generation.vector_count, generation.vector_dim))
