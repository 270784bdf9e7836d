"""Phrases of the same meaning: by their words, and by a BERT of random weights with a vocabulary of its own."""

import numpy as np
import pytest

from shared.errors import InvalidInput
from training.metrics.similarity import Bert, Lexical


def lexical(one: str, other: str) -> float:
    return float(Lexical().between([one], [other])[0, 0])


def test_form_order_and_articles_do_not_matter():
    assert lexical("The dogs", "a dog") == pytest.approx(1)
    assert lexical("red car", "car, red") == pytest.approx(1)
    assert lexical("the", "the") == pytest.approx(1)


def test_it_sees_words_and_not_their_meaning():
    # man: the stem and ^ma, man, an$; woman: its stem and ^wo, wom, oma, man, an$. Two of 4 and 6 are shared.
    assert lexical("a man", "a woman") == pytest.approx(2 / np.sqrt(4 * 6))
    # man (4 parts) in man, in, red, shirt (4 + 3 + 4 + 6).
    assert lexical("a man", "a man in a red shirt") == pytest.approx(4 / np.sqrt(4 * 17))
    assert lexical("car", "automobile") == 0.0
    assert lexical("", "car") == 0.0


def test_each_phrase_is_compared_with_each():
    assert Lexical().between(["dog", "cat", "dog"], ["dog"]) == pytest.approx(np.array([[1], [0], [1]]))
    assert Lexical().between([], ["dog"]).shape == (0, 1)


def test_bert_compares_means_of_last_states(tmp_path):
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    vocabulary = {word: n for n, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "dog", "cat"))}
    tokenizer = BertTokenizerFast(vocab=vocabulary)
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertModel(BertConfig(vocab_size=len(vocabulary), **sizes)).eval()
    model.save_pretrained(tmp_path)

    found = Bert(tmp_path).between(["red dog", "cat"], ["Red dog", "dog"])
    assert found[0, 0] == pytest.approx(1)
    with torch.inference_mode():
        # [CLS] cat [SEP] and [CLS] dog [SEP], by hand.
        cat, dog = (model(torch.tensor([[2, word, 3]])).last_hidden_state[0].mean(0) for word in (7, 6))
    assert found[1, 1] == pytest.approx(float(torch.cosine_similarity(cat, dog, dim=0)), abs=1e-5)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="holds no model") as told:
        Bert(tmp_path)
    assert told.value.field == "--bert"
