"""Under a script any model says the caption, the whole caption and nothing but marks besides."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.model import grounding
from shared.model.tokenizer import GlammTokenizer
from shared.settings import SHIPPED_CHECKPOINT
from shared.stages.caption_script import LEAD, Script, script
from shared.tasks import locate
from tests.tiny import byte_tokenizer

CAPTION = "A dog on the left, and 3.5 small (big) trees, naïve cats' tails; in front of 犬 🐕."
ENOUGH = 10_000


@pytest.fixture(scope="module", params=["bytes", "shipped"])
def tokenizer(request: pytest.FixtureRequest) -> GlammTokenizer:
    return GlammTokenizer(byte_tokenizer()) if request.param == "bytes" else GlammTokenizer.read(SHIPPED_CHECKPOINT)


def said(settled: Script, tokenizer: GlammTokenizer, random: Random, room: int = ENOUGH) -> list[int]:
    """The tokens of an answer whose every choice is made at random."""
    ids: list[int] = []
    while not ids or ids[-1] != tokenizer.eos:
        ids.append(random.choice(settled.allowed(room - len(ids))))
        settled.take(ids[-1])
        assert len(ids) <= room
    return ids


words = st.text(st.characters(codec="utf-8", exclude_characters="<>[]", exclude_categories=["Z", "C"]), min_size=1)


@settings(deadline=None, max_examples=150)
@given(caption=st.lists(words, min_size=1, max_size=8).map(" ".join).map(grounding.clean), seed=st.integers(0, 2**32))
def test_any_choice_gives_the_caption_back(tokenizer: GlammTokenizer, caption: str, seed: int) -> None:
    settled = script(tokenizer, caption, None)
    least = settled.remaining
    ids = said(settled, tokenizer, Random(seed))
    assert len(ids) >= least
    parsed = grounding.align(settled.text, caption)
    assert parsed == grounding.parse(settled.text)
    assert parsed.text == caption
    assert len(parsed.mentions) == ids.count(tokenizer.seg)
    for mention in parsed.mentions:
        assert mention.span is not None
        assert caption[slice(*mention.span)] == mention.phrase


@pytest.mark.parametrize("seed", range(40))
def test_the_tokens_are_those_that_the_text_has(seed: int) -> None:
    tokenizer = GlammTokenizer.read(SHIPPED_CHECKPOINT)
    settled = script(tokenizer, CAPTION, None)
    ids = said(settled, tokenizer, Random(seed))
    whole = tokenizer.encode(f"{LEAD} {settled.text}")[len(tokenizer.encode(LEAD)) :]
    assert [*whole, tokenizer.eos] == ids


@pytest.mark.parametrize("seed", range(10))
def test_given_phrases_are_marked_and_no_others(tokenizer: GlammTokenizer, seed: int) -> None:
    phrases = ["a dog", "left", "3.5 small", "big", "cats", "犬 🐕"]
    settled = script(tokenizer, CAPTION, locate(CAPTION, phrases))
    least = settled.remaining
    assert len(said(settled, tokenizer, Random(seed))) == least
    aligned = grounding.align(settled.text, CAPTION)
    assert aligned.text == CAPTION
    assert [mention.phrase for mention in aligned.mentions] == ["A dog", *phrases[1:]]
    assert [mention.span for mention in aligned.mentions] == locate(CAPTION, phrases)


@pytest.mark.parametrize("more", range(0, 40, 3))
def test_where_room_is_short_the_caption_goes_before_its_marks(tokenizer: GlammTokenizer, more: int) -> None:
    settled = script(tokenizer, CAPTION, None)
    room = settled.remaining + more
    ids = said(settled, tokenizer, Random(more), room)
    assert grounding.parse(settled.text).text == CAPTION
    # Three marks a phrase at least; what else one might have cost goes to the next.
    assert ids.count(tokenizer.seg) <= more // 3
