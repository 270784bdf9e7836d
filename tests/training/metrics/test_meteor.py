"""METEOR: by hand over a little English of its own, and against numbers that the Java program gave."""

import gzip
import json
from pathlib import Path

import pytest

from training.metrics.meteor import Meteor, corpus_scores
from training.metrics.meteor.normalize import ALWAYS, BEFORE_NUMBERS, words
from training.metrics.meteor.resources import Resources, Synonyms, english, paraphrases_of

RECORDED = json.loads(Path(__file__).with_name("meteor_recorded.json").read_text(encoding="utf-8"))

# The penalty of k chunks over m matched words: 0.6 × (k / m) ^ 0.2.
HALF = 0.6 * 0.8705505633  # (1/2) ^ 0.2


@pytest.fixture
def meteor() -> Meteor:
    return Meteor(
        Resources(
            function_words={"the", "in", "of"},
            abbreviations={},
            synonyms=Synonyms({"car": frozenset({1}), "auto": frozenset({1, 2}), "sheep": frozenset({3})}, {}),
            stem=lambda word: word.rstrip("s"),
            paraphrases={("in", "front", "of"): [("before",)]},
        )
    )


def test_words_that_match_weigh_by_their_kind(meteor):
    # Each side: the ¼, cat ¾, sat or slept ¾ = 1.75, of which 1 is matched: P = R = 1 / 1.75 and so is their mean.
    # One chunk of two words: the penalty is 0.6 × (1/2) ^ 0.2.
    found = meteor.statistics("the cat sat", ["the cat slept"])
    assert found.score == pytest.approx(1 / 1.75 * (1 - HALF))


def test_recall_weighs_more_than_precision(meteor):
    # Said: cat of weight ¾, all of it matched: P = 1. True: cat, dog, of which half: R = ½.
    # Mean 1 / (0.15 / 1 + 0.85 / ½) = 1 / 1.85; one chunk, 1 matched word on each side: the penalty is 0.6.
    assert meteor.statistics("cat", ["cat dog"]).score == pytest.approx(1 / 1.85 * 0.4)


def test_stems_synonyms_and_paraphrases_count_less_than_the_word_itself(meteor):
    # Where every word of both is matched in one chunk there is no penalty. Two stems: P = R = 0.6.
    assert meteor.statistics("dogs run", ["dog runs"]).score == pytest.approx(0.6)
    # cat at 1, a synonym at 0.8: (1 + 0.8) / 2.
    assert meteor.statistics("cat auto", ["cat car"]).score == pytest.approx(0.9)
    # With a word that nothing matches on each side: (1 + 0.8) / 3, and one chunk of two words.
    assert meteor.statistics("cat auto x", ["cat car y"]).score == pytest.approx(0.6 * (1 - HALF))
    # `before` (¾) for `in front of` (¼ + ¾ + ¼), after cat (¾): P = (0.75 + 0.6 × 0.75) / 1.5 = 0.8,
    # R = (0.75 + 0.6 × 1.25) / 2 = 0.75.
    found = meteor.statistics("cat before", ["cat in front of"])
    assert found.score == pytest.approx(1 / (0.15 / 0.8 + 0.85 / 0.75))


def test_order_costs(meteor):
    # All four words match, but as [c d] [a b]: two chunks of four words, the penalty is 0.6 × (2/4) ^ 0.2.
    assert meteor.statistics("c d a b", ["a b c d"]).score == pytest.approx(1 - HALF)
    assert meteor.statistics("a b c d", ["a b c d"]).score == 1.0


def test_the_best_reference_counts(meteor):
    assert meteor.statistics("a b", ["x y", "a b", "a c"]).score == 1.0


def test_nothing_said_and_nothing_matched_score_nothing(meteor):
    assert meteor.statistics("", ["the cat"]).score == 0.0
    assert meteor.statistics("dog", ["the cat"]).score == 0.0
    assert meteor.statistics("dog", [""]).score == 0.0


def test_a_sets_score_is_that_of_the_summed_counts(meteor):
    # "a b" for itself: weight 1.5 of 1.5, no chunk counted for a perfect one. "dog" for "cat": 0 of 0.75.
    # P = R = 1.5 / 2.25 and no penalty, as no chunk is left.
    scores = corpus_scores([meteor.statistics("a b", ["a b"]), meteor.statistics("dog", ["cat"])])
    assert scores.each == (1.0, 0.0)
    assert scores.corpus == pytest.approx(1.5 / 2.25)


@pytest.mark.parametrize(
    ("line", "cut"),
    [
        ("A well-known man's dog -- it's 5.5!", "a well known man 's dog - it 's 5.5 !"),
        ("red/white, 3,000 and more.", "red / white , 3,000 and more ."),
        ("Mr. Smith, no. 5 and no. Six", "mr. smith , no. 5 and no . six"),
        ("the U.S.A. wins...", "the usa wins ..."),
        ("“so” ‘it’", "\" so \" ' it '"),
    ],
)
def test_a_line_is_cut_into_words_by_meteors_rules(line, cut):
    assert words(line, {"Mr": ALWAYS, "no": BEFORE_NUMBERS}) == cut.split()


def test_synonyms_see_through_inflection():
    synonyms = english().synonyms
    assert synonyms.of("bicycles") & synonyms.of("bike")
    assert synonyms.of("men") & synonyms.of("man")
    assert not synonyms.of("dog") & synonyms.of("cat")


def test_of_the_paraphrase_table_only_what_can_occur_is_kept(tmp_path):
    table = tmp_path / "table.gz"
    table.write_bytes(gzip.compress(b"0.5\nin front of\nbefore\n0.1\nin front of\nfacing\n0.2\na lot of\nmany\n"))
    kept = paraphrases_of({"in", "front", "of", "before", "many", "lot"}, table)
    assert kept == {("in", "front", "of"): [("before",)]}


def test_the_scores_are_those_of_the_java_program():
    captions = RECORDED["captions"]
    scorer = Meteor.for_texts(text for row in captions for text in (row["said"], *row["references"]))
    scores = corpus_scores(scorer.statistics(row["said"], row["references"]) for row in captions)
    assert scores.each == pytest.approx([row["score"] for row in captions], abs=1e-12)
    assert scores.corpus == pytest.approx(RECORDED["corpus"], abs=1e-12)
