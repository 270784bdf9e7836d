"""A caption's tokens, on cases by hand and on lines that the Java tokeniser was given once."""

import json
from pathlib import Path

import pytest

from training.metrics.captions import tokenized

RECORDED = json.loads(Path(__file__).with_name("tokens_recorded.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A dog, in front of snow.", "a dog in front of snow"),
        ("It isn't John's: they've left!", "it is n't john 's they 've left"),
        ("the well-dressed man cannot swim", "the well-dressed man can not swim"),
        ('“Stop”, says the sign - "stop"', "stop says the sign stop"),
        ("a man (left) in a t-shirt", "a man -lrb- left -rrb- in a t-shirt"),
        ("Mr. Smith of the U.S. at 5:30 p.m.", "mr. smith of the u.s. at 5:30 p.m."),
        ("$5, 3,000 cars and 50%", "$ 5 3,000 cars and 50 %"),
        ("", ""),
        (" . , ", ""),
    ],
)
def test_words_are_split_as_the_treebank_does_and_punctuation_goes(caption, tokens):
    assert tokenized(caption) == tokens


@pytest.mark.parametrize("row", RECORDED["captions"], ids=lambda row: row["caption"][:30])
def test_the_tokens_are_those_of_the_java_tokeniser(row):
    assert tokenized(row["caption"]) == row["tokens"]
