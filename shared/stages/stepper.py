"""Continuous batching: answers that live at once advance together, and each enters and leaves between any two steps."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from shared.line import Line
from shared.model.lmm import Lmm
from shared.model.tokenizer import GlammTokenizer
from shared.stages.caption_script import Script
from shared.stages.generation import Follower, LlmAnswer, LlmInput, LlmOutput, Prompt
from shared.stages.kv_cache import RowCache


class Speaker(Protocol):
    """The model that answers, and what it keeps to.

    script: what an answer has to say, if that is settled. most_tokens: how long it may be where it is not.
    """

    lmm: Lmm
    tokenizer: GlammTokenizer
    device: torch.device

    def most_tokens(self, prompt: Prompt) -> int: ...

    def script(self, prompt: Prompt) -> Script | None: ...


@dataclass(frozen=True)
class _Waiting:
    """A prompt that has not begun: the `index`-th of the item `key`."""

    key: int
    index: int
    prompt: Prompt
    global_tokens: Tensor
    follower: Follower | None

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
    script: Script | None
    follower: Follower | None
    ids: list[int] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)


class LlmStepper:
    """All live answers advance one token a step; waiting prompts enter at the start of a step while there is room.

    capacity: how many answers live at once; reserve: how many urgent ones besides. The cache takes memory for no more
    than both together. An item with several prompts ends with the last of its answers.
    """

    def __init__(self, stage: Speaker, capacity: int, reserve: int = 0) -> None:
        self._stage, self._capacity, self._reserve = stage, capacity, reserve
        self._waiting: Line[_Waiting] = Line()
        self._live: list[_Sequence] = []
        self._cache = RowCache(capacity + reserve)
        self._answers: dict[int, list[LlmAnswer | None]] = {}

    def __len__(self) -> int:
        """Items that are not finished."""
        return len(self._answers)

    def admit(self, key: int, item: LlmInput, urgent: bool = False) -> None:
        self._answers[key] = [None] * len(item.prompts)
        for index, prompt in enumerate(item.prompts):
            self._waiting.join(_Waiting(key, index, prompt, item.global_tokens, item.follower), urgent)

    @torch.inference_mode()
    def drop(self, key: int) -> None:
        """Forgets an item, however far it is; nothing happens for an unknown key."""
        self._answers.pop(key, None)
        self._waiting.remove(lambda waiting: waiting.key == key)
        for row in reversed(range(len(self._live))):
            if self._live[row].key == key:
                self._remove(row)

    def shrink(self) -> bool:
        """Hold fewer answers at a time from now on; False where it is one already."""
        if self._capacity + self._reserve == 1:
            return False
        self._capacity, self._reserve = max(1, self._capacity // 2), self._reserve // 2
        if not self._live:
            self._cache = RowCache(self._capacity + self._reserve)
        return True

    @torch.inference_mode()
    def step(self) -> list[tuple[int, LlmOutput]]:
        """One token for every live answer → the items that ended with it."""
        if self._live:
            self._decode()
        self._prefill()
        for row in reversed(range(len(self._live))):
            sequence = self._live[row]
            ended = sequence.ids[-1] == self._stage.tokenizer.eos or sequence.room == 0
            if sequence.follower is not None and sequence.follower.wants(sequence.index, ended):
                sequence.follower.grown(sequence.index, self._text(sequence))
            if ended:
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
        for waiting in self._waiting.take(self._capacity - len(self._live), self._reserve):
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
                room = left if script is not None else min(stage.most_tokens(waiting.prompt), left)
                self._cache.add(cache, row)
                self._live.append(_Sequence(waiting.key, waiting.index, room, script, waiting.follower))
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
        return LlmAnswer(self._text(sequence), tuple(sequence.ids), vectors)

    def _text(self, sequence: _Sequence) -> str:
        return self._stage.tokenizer.decode(sequence.ids) if sequence.script is None else sequence.script.text

    def _remove(self, row: int) -> None:
        self._cache.remove(row)
        self._live[row] = self._live[-1]
        self._live.pop()


def _chosen(logits: Tensor, script: Script, room: int) -> int:
    """The likeliest of the tokens that the script allows; the script goes on behind it."""
    allowed = script.allowed(room)
    token = allowed[int(logits[list(allowed)].argmax())] if len(allowed) > 1 else allowed[0]
    script.take(token)
    return token
