"""The pixel stage's work: the embedding comes from the features store, the masks go into Postgres."""

from collections.abc import Sequence

import numpy as np
import torch
from sqlalchemy import Connection

from shared import jobs
from shared.features import SAM, FeatureStore
from shared.jobs import Generation, Message, Phrase, Result, Run, Stage, Timing
from shared.stages.pixel import PixelInput, PixelOutput
from shared.tasks import Task
from workers.errors import FeaturesGone
from workers.tensors import unpack
from workers.work import Work


class PixelWork(Work[PixelInput, PixelOutput, Result]):
    stage = Stage.PIXEL

    def __init__(self, fingerprint: str, features: FeatureStore) -> None:
        self._fingerprint = fingerprint
        self._features = features

    def fetch(self, run: Run) -> PixelInput:
        generation = _generation(run)
        found = self._features.get(run.image_id, [SAM])
        if SAM not in found:
            raise FeaturesGone(SAM)
        return PixelInput(
            sam_embedding=unpack(found[SAM]),
            prompt_vectors=_vectors(generation),
            width=run.width,
            height=run.height,
            raw_text=generation.text,
            expression=run.prompt if run.task is Task.REFSEG else None,
        )

    def keep(self, run: Run, output: PixelOutput) -> Result:
        phrases = tuple(
            Phrase(text=found.text, span=found.span, rle=found.rle, box=found.box, area=found.area, score=found.score)
            for found in output.phrases
        )
        return Result(output.text, _generation(run).text, phrases, self._fingerprint)

    def complete(self, conn: Connection, run: Run, record: Result, timing: Timing) -> Sequence[Message] | None:
        return () if jobs.complete_pixel(conn, run, record, timing) else None


def _generation(run: Run) -> Generation:
    if run.generation is None:
        raise ValueError("a run of the pixel stage comes with the llm stage's generation")
    return run.generation


def _vectors(generation: Generation) -> torch.Tensor:
    """(vector_count, vector_dim) float32."""
    flat = np.frombuffer(generation.prompt_vectors, dtype="<f4").astype(np.float32)
    return torch.from_numpy(flat.reshape(generation.vector_count, generation.vector_dim))
