"""Continuous batching: an answer does not depend on who shares its steps."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.stages.llm import LlmInput, LlmOutput, LlmStage
from tests.tiny import TINY, write_checkpoint


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> LlmStage:
    folder: Path = write_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return LlmStage.load(folder, torch.device("cpu"), max_new_tokens=12)


def prompt(stage: LlmStage, number: int) -> LlmInput:
    tokens = torch.randn(TINY.clip.tokens, TINY.clip.width, generator=torch.Generator().manual_seed(number))
    return stage.prepare("gcg", "Describe it" + "!" * (number % 3), tokens)


def decoded_without_a_cache(stage: LlmStage, item: LlmInput) -> LlmOutput:
    """The whole prefix anew for every token, as the released code does."""
    lmm, tokenizer = stage.lmm, stage.tokenizer
    ids: list[int] = []
    vectors = []
    with torch.inference_mode():
        embeddings = lmm.embed(torch.tensor(item.ids), item.global_tokens, item.region_tokens, tokenizer.bbox)[None]
        while len(ids) < stage.max_new_tokens and tokenizer.eos not in ids:
            state = lmm.states(embeddings)[0, -1]
            ids.append(int(lmm.logits(state).argmax()))
            if ids[-1] == tokenizer.seg:
                vectors.append(lmm.prompt_vectors(state))
            word = lmm.llama.model.embed_tokens(torch.tensor([[ids[-1]]]))
            embeddings = torch.cat([embeddings, word], dim=1)
    stacked = torch.stack(vectors) if vectors else torch.zeros(0, TINY.sam.prompt_dim)
    return LlmOutput(tokenizer.decode(ids), tuple(ids), stacked)


def assert_same(one: LlmOutput, other: LlmOutput) -> None:
    assert one.token_ids == other.token_ids
    assert one.text == other.text
    torch.testing.assert_close(one.prompt_vectors, other.prompt_vectors, rtol=1e-3, atol=1e-5)


def test_the_cache_changes_nothing(stage: LlmStage) -> None:
    for number in range(3):
        item = prompt(stage, number)
        expected = decoded_without_a_cache(stage, item)
        assert len(expected.prompt_vectors) > 0
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


def test_an_answer_stops_at_its_limit(stage: LlmStage) -> None:
    assert len(stage.run([prompt(stage, 0)])[0].token_ids) == 12


def test_a_prompt_that_fills_the_model_is_refused(stage: LlmStage) -> None:
    tokens = torch.zeros(TINY.clip.tokens, TINY.clip.width)
    with pytest.raises(InvalidInput, match="positions") as refused:
        stage.prepare("gcg", "x" * TINY.llm.max_positions, tokens)
    assert refused.value.field == "prompt"
    assert refused.value.remedy
