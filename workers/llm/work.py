"""The llm stage's work: image tokens come from the features store, the generations go into Postgres."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sqlalchemy import Connection
from torch import Tensor

from shared import jobs
from shared.features import GLOBAL, FeatureStore, region_part
from shared.jobs import Generation, Message, Run, Stage, Timing
from shared.stages.generation import LlmAnswer, LlmInput, LlmOutput, PastTurn
from shared.stages.llm import LlmStage
from shared.tasks import Box
from workers.errors import FeaturesGone
from workers.llm.telling import Teller
from workers.tensors import unpack
from workers.work import Work


class LlmWork(Work[LlmInput, LlmOutput, Sequence[Generation]]):
    stage = Stage.LLM

    def __init__(self, stage: LlmStage, features: FeatureStore, teller: Teller) -> None:
        self._stage = stage
        self._features = features
        self._teller = teller

    def fetch(self, run: Run) -> LlmInput:
        asks = [*(turn.ask for turn in run.history), run.ask]
        wanted = list(dict.fromkeys([GLOBAL, *(region_part(ask.boxes) for ask in asks if ask.boxes)]))
        found = self._features.get(run.stored.id, wanted)
        for part in wanted:
            if part not in found:
                raise FeaturesGone(part)

        def regions(boxes: Sequence[Box]) -> Tensor | None:
            return unpack(found[region_part(boxes)]) if boxes else None

        history = [PastTurn(turn.ask, turn.answers, regions(turn.ask.boxes)) for turn in run.history]
        prepared = self._stage.prepare(run.ask, unpack(found[GLOBAL]), regions(run.ask.boxes), history)
        return replace(prepared, follower=self._teller.follow(run.job_id))

    def size(self, fetched: LlmInput) -> int:
        return len(fetched.prompts)

    def keep(self, run: Run, output: LlmOutput) -> Sequence[Generation]:
        return [_generation(answer) for answer in output.answers]

    def complete(
        self, conn: Connection, run: Run, record: Sequence[Generation], timing: Timing
    ) -> Sequence[Message] | None:
        following = jobs.complete_llm(conn, run, record, timing)
        return None if following is None else (following,)


def _generation(answer: LlmAnswer) -> Generation:
    vectors = answer.prompt_vectors.numpy()
    return Generation(
        text=answer.text,
        token_ids=tuple(answer.token_ids),
        prompt_vectors=np.ascontiguousarray(vectors, dtype="<f4").tobytes(),
        vector_count=vectors.shape[0],
        vector_dim=vectors.shape[1],
    )
