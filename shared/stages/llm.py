"""The llm stage: prompts and vision tokens → answers and one prompt vector a [SEG] of theirs, by greedy decoding."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from shared.errors import InvalidInput
from shared.model import conversation, parts
from shared.model.checkpoint import load_part, read_tokenizer
from shared.model.grounding import without_places
from shared.model.lmm import Lmm
from shared.model.tokenizer import GlammTokenizer
from shared.stages.caption_script import Script, script
from shared.stages.generation import LlmInput, LlmOutput, PastTurn, Prompt
from shared.stages.questions import marked_boxes, questions
from shared.stages.stepper import LlmStepper
from shared.tasks import Ask, Task

FIELDS = {Task.REFSEG: "expressions", Task.VQA: "question", Task.GROUND: "caption"}
"""The field of a request that makes its prompt long, where it is not the prompt itself."""

ANSWER_ROOM = 128
MOST_AT_ONCE = 64
"""Answers that `run` decodes side by side."""


class LlmStage:
    def __init__(self, lmm: Lmm, tokenizer: GlammTokenizer, max_new_tokens: int = 512) -> None:
        self.lmm, self.tokenizer, self.max_new_tokens = lmm, tokenizer, max_new_tokens
        self.device = next(lmm.parameters()).device

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        max_new_tokens: int = 512,
    ) -> Self:
        """Raises CheckpointError where the folder does not hold this part, or its vocabulary does not fit."""
        tokenizer = read_tokenizer(checkpoint)
        return cls(load_part(checkpoint, "llm", parts.llm, device, dtype), tokenizer, max_new_tokens)

    def prepare(
        self,
        ask: Ask,
        global_tokens: Tensor,
        region_tokens: Tensor | None = None,
        history: Sequence[PastTurn] = (),
    ) -> LlmInput:
        """Safe in any thread. region_tokens: (n, hidden), one for each of the ask's boxes.

        Of a history that is too long the oldest turns are forgotten. Raises InvalidInput where the ask alone leaves no
        room for its answer.
        """
        remembered = list(history)
        while True:
            prompts = self._prompts(ask, region_tokens, remembered)
            lacking = max(self._needed(prompt) + self._length(prompt, global_tokens) for prompt in prompts)
            if lacking <= self.lmm.config.max_positions:
                return LlmInput(global_tokens, tuple(prompts))
            if not remembered:
                raise self._too_long(ask, lacking)
            remembered.pop(0)

    def _prompts(self, ask: Ask, region_tokens: Tensor | None, history: Sequence[PastTurn]) -> list[Prompt]:
        said: list[tuple[str, str | None]] = []
        past: list[Tensor] = []
        for turn in history:
            asked = questions(turn.ask)
            answers = map(without_places, turn.answers)
            said += [(question.text, answer) for question, answer in zip(asked, answers, strict=True)]
            if turn.region_tokens is not None:
                past.append(turn.region_tokens[marked_boxes(asked)])
        prompts = []
        for question in questions(ask):
            ids = tuple(self.tokenizer.encode_prompt(conversation.build([*said, (question.text, None)])))
            regions = list(past)
            if question.boxes and region_tokens is not None:
                regions.append(region_tokens[list(question.boxes)])
            prompts.append(Prompt(ids, torch.cat(regions) if regions else None, question, ask.max_new_tokens))
        return prompts

    def script(self, prompt: Prompt) -> Script | None:
        """What the answer has to keep to, if anything."""
        if prompt.question is None or prompt.question.caption is None:
            return None
        return script(self.tokenizer, prompt.question.caption, prompt.question.spans)

    def _length(self, prompt: Prompt, global_tokens: Tensor) -> int:
        """Positions that the prompt takes once the image's tokens stand in it."""
        return len(prompt.ids) - 1 + len(global_tokens)

    def _needed(self, prompt: Prompt) -> int:
        """Positions without which an answer would be cut off where no client expects it."""
        settled = self.script(prompt)
        return min(ANSWER_ROOM, self.most_tokens(prompt)) if settled is None else settled.remaining

    def most_tokens(self, prompt: Prompt) -> int:
        """Of the answer, if nothing settles what it says."""
        return self.max_new_tokens if prompt.most is None else min(prompt.most, self.max_new_tokens)

    def _too_long(self, ask: Ask, positions: int) -> InvalidInput:
        field = FIELDS.get(ask.task, "prompt")
        return InvalidInput(
            field,
            f"With room for an answer the {field} takes {positions} positions; the model has "
            f"{self.lmm.config.max_positions}.",
            f"Shorten the {field}.",
        )

    def stepper(self, capacity: int, reserve: int = 0) -> LlmStepper:
        return LlmStepper(self, capacity, reserve)

    def run(self, batch: Sequence[LlmInput]) -> list[LlmOutput]:
        """The whole batch to its end. The engine steps instead, to let prompts in and answers out in between."""
        stepper = self.stepper(max(1, min(MOST_AT_ONCE, sum(len(item.prompts) for item in batch))))
        for key, item in enumerate(batch):
            stepper.admit(key, item)
        outputs: dict[int, LlmOutput] = {}
        while len(stepper):
            outputs.update(stepper.step())
        return [outputs[key] for key in range(len(batch))]
