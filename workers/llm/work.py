"""The llm stage's work: image tokens come from the features store, the generation goes into Postgres."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection

from shared import jobs
from shared.features import GLOBAL, FeatureStore, region_part
from shared.jobs import Generation, Message, Run, Stage, Timing
from shared.stages.llm import LlmInput, LlmOutput, LlmStage
from workers.errors import FeaturesGone
from workers.tensors import unpack
from workers.work import Work


class LlmWork(Work[LlmInput, LlmOutput, Generation]):
    stage = Stage.LLM

    def __init__(self, stage: LlmStage, features: FeatureStore) -> None:
        self._stage = stage
        self._features = features

    def fetch(self, run: Run) -> LlmInput:
        region = region_part(run.boxes) if run.boxes else None
        wanted = [GLOBAL, *([region] if region else [])]
        found = self._features.get(run.image_id, wanted)
        for part in wanted:
            if part not in found:
                raise FeaturesGone(part)
        return self._stage.prepare(
            run.task,
            run.prompt,
            unpack(found[GLOBAL]),
            unpack(found[region]) if region else None,
        )

    def keep(self, run: Run, output: LlmOutput) -> Generation:
        vectors = output.prompt_vectors.numpy()
        return Generation(
            text=output.text,
            token_ids=tuple(output.token_ids),
            prompt_vectors=np.ascontiguousarray(vectors, dtype="<f4").tobytes(),
            vector_count=vectors.shape[0],
            vector_dim=vectors.shape[1],
        )

    def complete(self, conn: Connection, run: Run, record: Generation, timing: Timing) -> Sequence[Message] | None:
        following = jobs.complete_llm(conn, run, record, timing)
        return None if following is None else (following,)
