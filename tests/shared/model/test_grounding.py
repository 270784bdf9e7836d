"""Grounded text → clean caption, phrases and spans."""

from hypothesis import given
from hypothesis import strategies as st

from shared.model.grounding import Mention, parse

words = st.text(alphabet="abcdefgh", min_size=1, max_size=6)
phrases = st.lists(words, min_size=1, max_size=3).map(" ".join)


def test_phrases_keep_their_place_in_the_clean_caption() -> None:
    said = parse("<p> A dog </p> [SEG] on the left and <p> a small apple </p> [SEG], in front of <p> snow </p> [SEG].")
    assert said.text == "A dog on the left and a small apple, in front of snow."
    assert said.mentions == (
        Mention(0, "A dog", (0, 5)),
        Mention(1, "a small apple", (22, 35)),
        Mention(2, "snow", (49, 53)),
    )


def test_markup_without_spaces_parts_words() -> None:
    said = parse("on the left and<p> a fish</p>[SEG]at the top.")
    assert said.text == "on the left and a fish at the top."
    assert said.mentions[0].span == (16, 22)


def test_a_seg_without_a_phrase_has_none() -> None:
    said = parse("Sure, it is [SEG].")
    assert said.text == "Sure, it is."
    assert said.mentions == (Mention(0, None, None),)


def test_only_the_first_seg_after_a_phrase_takes_it() -> None:
    said = parse("<p> two dogs </p> [SEG] [SEG]")
    assert [mention.phrase for mention in said.mentions] == ["two dogs", None]


def test_a_phrase_without_a_seg_is_plain_text() -> None:
    said = parse("<p> a cat </p> sleeps beside <p> a dog </p> [SEG]")
    assert said.text == "a cat sleeps beside a dog"
    assert [mention.phrase for mention in said.mentions] == ["a dog"]


def test_broken_markup_loses_no_word_and_invents_no_phrase() -> None:
    said = parse("</p> a <p> <p> b [SEG] </p> <p> </p> [SEG] <unknown> c <p>")
    assert said.text == "a b c"
    assert [mention.phrase for mention in said.mentions] == [None, "b"]


@given(st.lists(st.tuples(phrases, phrases), max_size=5))
def test_every_phrase_is_found_again_at_its_span(pairs: list[tuple[str, str]]) -> None:
    said = parse("".join(f"{before} <p> {phrase} </p> [SEG] " for before, phrase in pairs))
    assert said.text == " ".join(f"{before} {phrase}" for before, phrase in pairs)
    assert [mention.phrase for mention in said.mentions] == [phrase for _, phrase in pairs]
    for mention in said.mentions:
        assert mention.span is not None
        assert said.text[slice(*mention.span)] == mention.phrase
