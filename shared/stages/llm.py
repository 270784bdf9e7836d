"""The llm stage: prompts and vision tokens → answers and one prompt vector a [SEG] of theirs, by greedy decoding."""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from transformers import DynamicCache

from shared.errors import InvalidInput
from shared.model import conversation, parts
from shared.model.checkpoint import load_part, read_tokenizer
from shared.model.lmm import Lmm
from shared.model.tokenizer import GlammTokenizer
from shared.stages.caption_script import CaptionScript
from shared.stages.kv_cache import RowCache
from shared.stages.questions import Question, marked_boxes, questions
from shared.tasks import Ask, Task

FIELDS = {Task.REFSEG: "expressions", Task.VQA: "question", Task.GROUND: "caption"}
"""The field of a request that makes its prompt long, where it is not the prompt itself."""


@dataclass(frozen=True)
class Prompt:
    """What one answer is generated from.

    ids: with the image's placeholder; region_tokens: (n, hidden), one a `<bbox>` of `ids`, or None without any;
    question: what the answer has to be and will be about.
    """

    ids: tuple[int, ...]
    region_tokens: Tensor | None = None
    question: Question | None = None


@dataclass(frozen=True)
class LlmInput:
    """One job. global_tokens: (t, width), of all its prompts."""

    global_tokens: Tensor
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True)
class LlmAnswer:
    """text: the raw answer with its markup; prompt_vectors: (n, D) float32 on the CPU, one a [SEG] in `token_ids`."""

    text: str
    token_ids: tuple[int, ...]
    prompt_vectors: Tensor


@dataclass(frozen=True)
class LlmOutput:
    """One answer a prompt, in their order."""

    answers: tuple[LlmAnswer, ...]


@dataclass(frozen=True)
class PastTurn:
    """An earlier turn of a conversation. answers: raw texts; region_tokens: (n, hidden) of its boxes, or None."""

    ask: Ask
    answers: tuple[str, ...]
    region_tokens: Tensor | None = None


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

    def stepper(self, capacity: int) -> "LlmStepper":
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


@dataclass(frozen=True)
class _Waiting:
    """A prompt that has not begun: the `index`-th of the item `key`."""

    key: int
    index: int
    prompt: Prompt
    global_tokens: Tensor

    @property
    def length(self) -> int:
        """Positions that the prompt takes once the image's tokens stand in it."""
        return len(self.prompt.ids) - 1 + len(self.global_tokens)


@dataclass
class _Sequence:
    """A live answer. `room`: how many tokens it may still get; `script`: what it has to say, if that is settled."""

    key: int
    index: int
    room: int
    script: CaptionScript | None
    ids: list[int] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)


class LlmStepper:
    """All live answers advance one token a step; waiting prompts enter at the start of a step while there is room.

    capacity: how many answers live at once. An item with several prompts ends with the last of its answers.
    """

    def __init__(self, stage: LlmStage, capacity: int) -> None:
        self._stage, self._capacity = stage, capacity
        self._waiting: deque[_Waiting] = deque()
        self._live: list[_Sequence] = []
        self._cache = RowCache()
        self._answers: dict[int, list[LlmAnswer | None]] = {}

    def __len__(self) -> int:
        """Items that are not finished."""
        return len(self._answers)

    def admit(self, key: int, item: LlmInput) -> None:
        self._answers[key] = [None] * len(item.prompts)
        self._waiting.extend(
            _Waiting(key, index, prompt, item.global_tokens) for index, prompt in enumerate(item.prompts)
        )

    @torch.inference_mode()
    def drop(self, key: int) -> None:
        """Forgets an item, however far it is; nothing happens for an unknown key."""
        self._answers.pop(key, None)
        self._waiting = deque(waiting for waiting in self._waiting if waiting.key != key)
        for row in reversed(range(len(self._live))):
            if self._live[row].key == key:
                self._remove(row)

    @torch.inference_mode()
    def step(self) -> list[tuple[int, LlmOutput]]:
        """One token for every live answer → the items that ended with it."""
        if self._live:
            self._decode()
        self._prefill()
        for row in reversed(range(len(self._live))):
            sequence = self._live[row]
            if sequence.ids[-1] == self._stage.tokenizer.eos or sequence.room == 0:
                self._answers[sequence.key][sequence.index] = self._answer(sequence)
                self._remove(row)
        return self._take_finished()

    def _take_finished(self) -> list[tuple[int, LlmOutput]]:
        finished = []
        for key, found in list(self._answers.items()):
            answers = [answer for answer in found if answer is not None]
            if len(answers) == len(found):
                finished.append((key, LlmOutput(tuple(answers))))
                del self._answers[key]
        return finished

    def _prefill(self) -> None:
        """First pass over waiting prompts; those of equal length share it, since no padding is then needed."""
        entering: dict[int, list[_Waiting]] = defaultdict(list)
        for _ in range(min(len(self._waiting), self._capacity - len(self._live))):
            waiting = self._waiting.popleft()
            entering[waiting.length].append(waiting)
        stage = self._stage
        for length, group in entering.items():
            embeddings = torch.stack([self._embed(waiting) for waiting in group])
            cache = DynamicCache()
            states = stage.lmm.states(embeddings, cache=cache)[:, -1]
            left = stage.lmm.config.max_positions - length
            first = len(self._live)
            for row, waiting in enumerate(group):
                script = stage.script(waiting.prompt)
                # A settled answer is as long as it is; one that runs on is cut at the limit.
                room = left if script is not None else min(stage.max_new_tokens, left)
                self._cache.add(cache, row)
                self._live.append(_Sequence(waiting.key, waiting.index, room, script))
            self._take(states, self._live[first:])

    def _decode(self) -> None:
        stage = self._stage
        last = torch.tensor([[sequence.ids[-1]] for sequence in self._live], device=stage.device)
        positions, mask = self._cache.begin_step(stage.device)
        states = stage.lmm.states(stage.lmm.llama.model.embed_tokens(last), positions, mask, self._cache)
        self._cache.end_step()
        self._take(states[:, -1], self._live)

    def _take(self, states: Tensor, sequences: Sequence[_Sequence]) -> None:
        """Greedy next tokens. A state that predicts [SEG] is that [SEG]'s prompt, before the token itself is read."""
        stage = self._stage
        logits = stage.lmm.logits(states)
        for row, (sequence, best) in enumerate(zip(sequences, logits.argmax(-1).tolist(), strict=True)):
            token = best if sequence.script is None else _chosen(logits[row], sequence.script, sequence.room)
            sequence.ids.append(token)
            sequence.room -= 1
            if token == stage.tokenizer.seg:
                sequence.vectors.append(stage.lmm.prompt_vectors(states[row]))

    def _embed(self, waiting: _Waiting) -> Tensor:
        stage = self._stage
        ids = torch.tensor(waiting.prompt.ids, device=stage.device)
        regions = waiting.prompt.region_tokens
        return stage.lmm.embed(
            ids,
            waiting.global_tokens.to(stage.device),
            None if regions is None else regions.to(stage.device),
            stage.tokenizer.bbox,
        )

    def _answer(self, sequence: _Sequence) -> LlmAnswer:
        stage = self._stage
        none = torch.zeros(0, stage.lmm.prompt_dim)
        vectors = torch.stack(sequence.vectors).float().cpu() if sequence.vectors else none
        text = stage.tokenizer.decode(sequence.ids) if sequence.script is None else sequence.script.text
        return LlmAnswer(text, tuple(sequence.ids), vectors)

    def _remove(self, row: int) -> None:
        self._cache.remove(row)
        self._live[row] = self._live[-1]
        self._live.pop()


def _chosen(logits: Tensor, script: CaptionScript, room: int) -> int:
    """The likeliest of the tokens that the script allows; the script goes on behind it."""
    allowed = script.allowed(room)
    token = allowed[int(logits[list(allowed)].argmax())] if len(allowed) > 1 else allowed[0]
    script.take(token)
    return token
