"""The llm stage: prompts and vision tokens → the answer's text and one prompt vector a [SEG], by greedy decoding."""

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
from shared.stages.kv_cache import RowCache


@dataclass(frozen=True)
class LlmInput:
    """ids: the prompt with the image's placeholder; global_tokens: (t, width); region_tokens: (n, hidden) or None."""

    ids: tuple[int, ...]
    global_tokens: Tensor
    region_tokens: Tensor | None

    @property
    def length(self) -> int:
        """Positions that the prompt takes once the image's tokens stand in it."""
        return len(self.ids) - 1 + len(self.global_tokens)


@dataclass(frozen=True)
class LlmOutput:
    """text: the raw answer with its markup; prompt_vectors: (n, D) float32 on the CPU, one a [SEG] in `token_ids`."""

    text: str
    token_ids: tuple[int, ...]
    prompt_vectors: Tensor


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
        self, task: str, prompt: str | None, global_tokens: Tensor, region_tokens: Tensor | None = None
    ) -> LlmInput:
        """Safe in any thread. Raises InvalidInput where the prompt leaves no room for an answer."""
        question = conversation.build([(conversation.instruction(task, prompt), None)])
        made = LlmInput(tuple(self.tokenizer.encode_prompt(question)), global_tokens, region_tokens)
        room = self.lmm.config.max_positions - made.length
        if room < 1:
            raise InvalidInput(
                "prompt",
                f"the prompt takes {made.length} positions, the model has {self.lmm.config.max_positions}",
                "shorten the prompt",
            )
        return made

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


@dataclass
class _Sequence:
    """A live answer. `room`: how many tokens it may still get."""

    key: int
    room: int
    ids: list[int] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)


class LlmStepper:
    """All live answers advance one token a step; waiting prompts enter at the start of a step while there is room."""

    def __init__(self, stage: LlmStage, capacity: int) -> None:
        self._stage, self._capacity = stage, capacity
        self._waiting: deque[tuple[int, LlmInput]] = deque()
        self._live: list[_Sequence] = []
        self._cache = RowCache()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._live)

    def admit(self, key: int, item: LlmInput) -> None:
        self._waiting.append((key, item))

    @torch.inference_mode()
    def drop(self, key: int) -> None:
        """Forgets a prompt or a live answer; nothing happens for a key that is neither."""
        self._waiting = deque(pair for pair in self._waiting if pair[0] != key)
        for row, sequence in enumerate(self._live):
            if sequence.key == key:
                self._remove(row)
                return

    @torch.inference_mode()
    def step(self) -> list[tuple[int, LlmOutput]]:
        """One token for every live answer → those that ended with it."""
        if self._live:
            self._decode()
        self._prefill()
        finished = []
        for row in reversed(range(len(self._live))):
            sequence = self._live[row]
            if sequence.ids[-1] == self._stage.tokenizer.eos or sequence.room == 0:
                finished.append((sequence.key, self._output(sequence)))
                self._remove(row)
        return finished

    def _prefill(self) -> None:
        """First pass over waiting prompts; those of equal length share it, since no padding is then needed."""
        entering: dict[int, list[tuple[int, LlmInput]]] = defaultdict(list)
        for _ in range(min(len(self._waiting), self._capacity - len(self._live))):
            key, item = self._waiting.popleft()
            entering[item.length].append((key, item))
        stage = self._stage
        for length, group in entering.items():
            embeddings = torch.stack([self._embed(item) for _, item in group])
            cache = DynamicCache()
            states = stage.lmm.states(embeddings, cache=cache)[:, -1]
            room = min(stage.max_new_tokens, stage.lmm.config.max_positions - length)
            first = len(self._live)
            for row, (key, _) in enumerate(group):
                self._cache.add(cache, row)
                self._live.append(_Sequence(key, room))
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
        for sequence, state, token in zip(sequences, states, stage.lmm.logits(states).argmax(-1).tolist(), strict=True):
            sequence.ids.append(token)
            sequence.room -= 1
            if token == stage.tokenizer.seg:
                sequence.vectors.append(stage.lmm.prompt_vectors(state))

    def _embed(self, item: LlmInput) -> Tensor:
        stage = self._stage
        ids = torch.tensor(item.ids, device=stage.device)
        regions = None if item.region_tokens is None else item.region_tokens.to(stage.device)
        return stage.lmm.embed(ids, item.global_tokens.to(stage.device), regions, stage.tokenizer.bbox)

    def _output(self, sequence: _Sequence) -> LlmOutput:
        stage = self._stage
        none = torch.zeros(0, stage.lmm.prompt_dim)
        vectors = torch.stack(sequence.vectors).float().cpu() if sequence.vectors else none
        return LlmOutput(stage.tokenizer.decode(sequence.ids), tuple(sequence.ids), vectors)

    def _remove(self, row: int) -> None:
        self._cache.remove(row)
        self._live[row] = self._live[-1]
        self._live.pop()
