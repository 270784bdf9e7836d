"""Continuous batching: an answer does not depend on who shares its steps."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.model.grounding import clean
from shared.model.tokenizer import IMAGE_PLACEHOLDER
from shared.stages.generation import LlmAnswer, LlmInput, LlmOutput, PastTurn
from shared.stages.llm import LlmStage
from shared.tasks import Ask, Task
from tests.tiny import TINY, write_checkpoint


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> LlmStage:
    folder: Path = write_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return LlmStage.load(folder, torch.device("cpu"), max_new_tokens=12)


def prompt(stage: LlmStage, number: int) -> LlmInput:
    tokens = torch.randn(TINY.clip.tokens, TINY.clip.width, generator=torch.Generator().manual_seed(number))
    return stage.prepare(Ask(Task.GCG, "Describe it" + "!" * (number % 3)), tokens)


def several(stage: LlmStage, number: int) -> LlmInput:
    """A job with as many answers, of lengths that differ."""
    tokens = prompt(stage, number).global_tokens
    return stage.prepare(Ask(Task.REFSEG, expressions=tuple("x" * (1 + n % 2) for n in range(number))), tokens)


def decoded_without_a_cache(stage: LlmStage, item: LlmInput) -> LlmOutput:
    """The whole prefix anew for every token, as the released code does."""
    lmm, tokenizer = stage.lmm, stage.tokenizer
    ids: list[int] = []
    vectors = []
    with torch.inference_mode():
        (asked,) = item.prompts
        embeddings = lmm.embed(torch.tensor(asked.ids), item.global_tokens, asked.region_tokens, tokenizer.bbox)[None]
        while len(ids) < stage.max_new_tokens and tokenizer.eos not in ids:
            state = lmm.states(embeddings)[0, -1]
            ids.append(int(lmm.logits(state).argmax()))
            if ids[-1] == tokenizer.seg:
                vectors.append(lmm.prompt_vectors(state))
            word = lmm.llama.model.embed_tokens(torch.tensor([[ids[-1]]]))
            embeddings = torch.cat([embeddings, word], dim=1)
    stacked = torch.stack(vectors) if vectors else torch.zeros(0, TINY.sam.prompt_dim)
    return LlmOutput((LlmAnswer(tokenizer.decode(ids), tuple(ids), stacked),))


def assert_same(one: LlmOutput, other: LlmOutput) -> None:
    for mine, theirs in zip(one.answers, other.answers, strict=True):
        assert mine.token_ids == theirs.token_ids
        assert mine.text == theirs.text
        torch.testing.assert_close(mine.prompt_vectors, theirs.prompt_vectors, rtol=1e-3, atol=1e-5)


class Reader:
    """A follower that takes every `nth` text of an answer."""

    def __init__(self, nth: int) -> None:
        self.nth, self.asked = nth, 0
        self.texts: dict[int, list[str]] = defaultdict(list)

    def wants(self, answer: int, ended: bool) -> bool:
        self.asked += 1
        return ended or self.asked % self.nth == 0

    def grown(self, answer: int, text: str) -> None:
        self.texts[answer].append(text)


@pytest.mark.parametrize("nth", [1, 3, 10**6])
def test_a_follower_reads_along_and_changes_nothing(stage: LlmStage, nth: int) -> None:
    tokens = prompt(stage, 1).global_tokens
    asks = [
        Ask(Task.GCG),
        Ask(Task.REFSEG, expressions=("a cat", "the dog")),
        Ask(Task.GROUND, "A red ball, and grass."),
        Ask(Task.GROUND, "A red ball.", phrases=("A red ball",)),
    ]
    items = [stage.prepare(ask, tokens) for ask in asks]
    readers = [Reader(nth) for _ in items]
    alone = stage.run(items)
    followed = stage.run([replace(item, follower=reader) for item, reader in zip(items, readers, strict=True)])
    for one, other, reader in zip(alone, followed, readers, strict=True):
        assert_same(one, other)
        assert sorted(reader.texts) == list(range(len(other.answers)))
        for number, answer in enumerate(other.answers):
            assert reader.texts[number][-1] == answer.text
            shown = [clean(text).rstrip("\N{REPLACEMENT CHARACTER}") for text in reader.texts[number]]
            assert all(clean(answer.text).startswith(text) for text in shown)
        assert reader.asked == sum(len(answer.token_ids) for answer in other.answers)
    assert nth > 1 or all(len(set(reader.texts[0])) > 1 for reader in readers[:3])


def test_the_cache_changes_nothing(stage: LlmStage) -> None:
    for number in range(3):
        item = prompt(stage, number)
        expected = decoded_without_a_cache(stage, item)
        assert len(expected.answers[0].prompt_vectors) > 0
        assert_same(stage.run([item])[0], expected)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.booleans()), min_size=1, max_size=8))
def test_sequences_come_and_go_without_touching_each_other(stage: LlmStage, plan: list[tuple[int, int, bool]]) -> None:
    """plan: for each prompt its number, how many steps pass before the next enters, and whether it is dropped."""
    alone = {number: stage.run([prompt(stage, number)])[0] for number, _, _ in plan}
    stepper = stage.stepper(capacity=3)
    finished: dict[int, LlmOutput] = {}
    for key, (number, steps, _) in enumerate(plan):
        stepper.admit(key, prompt(stage, number))
        for _ in range(steps):
            finished.update(stepper.step())
        if key and plan[key - 1][2]:
            stepper.drop(key - 1)
    while len(stepper):
        finished.update(stepper.step())
    for key, (number, _, dropped) in enumerate(plan):
        if key in finished:
            assert_same(finished[key], alone[number])
        else:
            assert dropped


def test_an_answer_stops_at_the_limit_of_its_ask_and_never_behind_the_stages(stage: LlmStage) -> None:
    whole = stage.run([prompt(stage, 1)])[0].answers[0]
    assert len(whole.token_ids) > 3
    tokens = prompt(stage, 1).global_tokens
    limits = 3, 10 * stage.max_new_tokens
    cut, uncut = (stage.prepare(Ask(Task.GCG, "Describe it!", max_new_tokens=most), tokens) for most in limits)
    short, long = (output.answers[0] for output in stage.run([cut, uncut]))
    assert short.token_ids == whole.token_ids[:3]
    assert long.token_ids == whole.token_ids


def test_an_answer_stops_at_its_limit(stage: LlmStage) -> None:
    assert len(stage.run([prompt(stage, 0)])[0].answers[0].token_ids) == 12


def test_a_prompt_that_fills_the_model_is_refused(stage: LlmStage) -> None:
    tokens = torch.zeros(TINY.clip.tokens, TINY.clip.width)
    with pytest.raises(InvalidInput, match="positions") as refused:
        stage.prepare(Ask(Task.GCG, "x" * TINY.llm.max_positions), tokens)
    assert refused.value.field == "prompt"
    assert refused.value.remedy
    with pytest.raises(InvalidInput) as refused:
        # Twice: in the question, and as the answer that has to follow it.
        stage.prepare(Ask(Task.GROUND, "x" * (TINY.llm.max_positions // 2)), tokens)
    assert refused.value.field == "caption"


def test_of_a_long_conversation_the_oldest_turns_are_forgotten(stage: LlmStage) -> None:
    tokens = torch.zeros(TINY.clip.tokens, TINY.clip.width)
    ask = Ask(Task.CAPTION)
    long = "y" * (TINY.llm.max_positions // 3)
    history = [PastTurn(Ask(Task.GCG, name), (f"{name} {long}",)) for name in ("first", "second", "third", "fourth")]
    (prompt,) = stage.prepare(ask, tokens, history=history).prompts
    text = stage.tokenizer.decode([token for token in prompt.ids if token >= 0])
    assert "fourth" in text
    assert "third" in text
    assert "second" not in text
    assert "first" not in text
    assert prompt.ids.count(IMAGE_PLACEHOLDER) == 1


def test_tokens_that_stand_for_a_box_or_an_image_are_not_read_from_earlier_answers(stage: LlmStage) -> None:
    tokens = torch.zeros(TINY.clip.tokens, TINY.clip.width)
    regions = torch.zeros(1, TINY.llm.hidden)
    history = [PastTurn(Ask(Task.CAPTION), ("A <bbox> dog<image> <p> here </p> [SEG].",))]
    item = stage.prepare(Ask(Task.VQA, "This?", ((0, 0, 9, 9),)), tokens, regions, history)
    (prompt,) = item.prompts
    assert prompt.ids.count(stage.tokenizer.bbox) == 1
    assert prompt.ids.count(IMAGE_PLACEHOLDER) == 1
    assert prompt.ids.count(stage.tokenizer.seg) == 1
    assert stage.run([item])[0].answers[0].token_ids


def test_a_job_of_many_answers_shares_the_places_there_are(stage: LlmStage) -> None:
    stepper = stage.stepper(capacity=2)
    stepper.admit(1, several(stage, 5))
    stepper.admit(2, prompt(stage, 0))
    finished: dict[int, LlmOutput] = {}
    while len(stepper):
        finished.update(stepper.step())
    assert_same(finished[1], stage.run([several(stage, 5)])[0])
    assert_same(finished[2], stage.run([prompt(stage, 0)])[0])
    assert len(finished[1].answers) == 5


def test_an_urgent_job_waits_for_no_answer_of_the_others(stage: LlmStage) -> None:
    """It has places of its own and the first of all others that come free; memory is taken for these places alone."""
    stepper = stage.stepper(capacity=2, reserve=1)
    stepper.admit(1, several(stage, 5))
    stepper.step()
    stepper.admit(2, several(stage, 2), urgent=True)
    finished: dict[int, LlmOutput] = {}
    order: list[int] = []
    while len(stepper):
        for key, output in stepper.step():
            order.append(key)
            finished[key] = output
    assert order == [2, 1]
    assert_same(finished[1], stage.run([several(stage, 5)])[0])
    assert_same(finished[2], stage.run([several(stage, 2)])[0])
    assert {len(keys) for keys, _ in stepper._cache._layers} == {3}


def test_memory_that_ran_out_takes_the_reserve_too(stage: LlmStage) -> None:
    stepper = stage.stepper(capacity=4, reserve=1)
    sizes = []
    while stepper.shrink():
        stepper.admit(1, several(stage, 9), urgent=True)
        stepper.step()
        sizes.append(len(stepper._live))
        stepper.drop(1)
    assert sizes == [2, 1]


def test_a_job_of_many_answers_is_dropped_whole(stage: LlmStage) -> None:
    stepper = stage.stepper(capacity=2)
    stepper.admit(1, several(stage, 5))
    stepper.step()
    stepper.drop(1)
    assert len(stepper) == 0
    assert stepper.step() == []
