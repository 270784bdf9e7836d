"""The llm stage: prompts and vision tokens → answers and one prompt vector a [SEG] of theirs, by greedy decoding."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from shared.errors import InvalidInput
from shared.model import conversation, parts
from shared.model.checkpoint import load_part, read_tokenizer
from shared.model.lmm import Lmm
from shared.model.tokenizer import GlammTokenizer
from shared.stages.caption_script import CaptionScript
from shared.stages.generation import LlmInput, LlmOutput, PastTurn, Prompt
from shared.stages.questions import marked_boxes, questions
from shared.stages.stepper import LlmStepper
from shared.tasks import Ask, Task

FIELDS = {Task.REFSEG: "expressions", Task.VQA: "question", Task.GROUND: "caption"}
"""The field of a request that makes its prompt long, where it is not the prompt itself."""


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

        Raises InvalidInput where a prompt leaves no room for its answer.
        """
        said: list[tuple[str, str | None]] = []
        past: list[Tensor] = []
        for turn in history:
            asked = questions(turn.ask)
            said += [(question.text, answer) for question, answer in zip(asked, turn.answers, strict=True)]
            if turn.region_tokens is not None:
                past.append(turn.region_tokens[marked_boxes(asked)])
        prompts = []
        for question in questions(ask):
            ids = tuple(self.tokenizer.encode_prompt(conversation.build([*said, (question.text, None)])))
            regions = list(past)
            if question.boxes and region_tokens is not None:
                regions.append(region_tokens[list(question.boxes)])
            prompt = Prompt(ids, torch.cat(regions) if regions else None, question)
            self._require_room(prompt, len(global_tokens), ask)
            prompts.append(prompt)
        return LlmInput(global_tokens, tuple(prompts))

    def script(self, prompt: Prompt) -> CaptionScript | None:
        """What the answer has to keep to, if anything."""
        if prompt.question is None or prompt.question.caption is None:
            return None
        return CaptionScript(self.tokenizer, prompt.question.caption, prompt.question.spans)

    def _require_room(self, prompt: Prompt, image_tokens: int, ask: Ask) -> None:
        length, most = len(prompt.ids) - 1 + image_tokens, self.lmm.config.max_positions
        script = self.script(prompt)
        needed = 1 if script is None else script.remaining
        if most - length < needed:
            field = FIELDS.get(ask.task, "prompt")
            raise InvalidInput(
                field,
                f"The prompt takes {length} of the model's {most} positions, and its answer at least {needed}.",
                f"Shorten the {field}, or begin a new conversation.",
            )

    def stepper(self, capacity: int) -> LlmStepper:
        return LlmStepper(self, capacity)

    def run(self, batch: Sequence[LlmInput]) -> list[LlmOutput]:
        """The whole batch to its end. The engine steps instead, to let prompts in and answers out in between."""
        stepper = self.stepper(max(1, len(batch)))
        for key, item in enumerate(batch):
            stepper.admit(key, item)
        outputs: dict[int, LlmOutput] = {}
        while len(stepper):
            outputs.update(stepper.step())
        return [outputs[key] for key in range(len(batch))]
