"""CIDEr, BLEU and ROUGE-L on captions whose scores are worked out by hand."""

import pytest

from training.metrics.caption_scores import Captioned, bleu, caption_scores, cider, rouge_l


def test_cider_of_a_right_and_a_wrong_caption():
    # The first has every run of 1 to 4 words right: 10. The second shares none: 0. The mean is 5.
    right = Captioned("a red dog sits", ("a red dog sits",))
    wrong = Captioned("my old cat runs", ("the blue sky above",))
    assert cider([right, wrong]) == pytest.approx(5)


def test_cider_of_a_caption_with_one_word_wrong():
    # Every run of words stands in one image of two, so all weigh the same. Of "a b c d" against "a b c e" match
    # 3/4 of the words, 2/3 of the pairs, 1/2 of the triples, 0 of the fours: their mean times 10 is 4.7917.
    # The other image scores 0.
    near = Captioned("a b c d", ("a b c e",))
    other = Captioned("x y z w", ("p q r s",))
    assert cider([near, other]) == pytest.approx(10 * (3 / 4 + 2 / 3 + 1 / 2) / 4 / 2)


def test_cider_of_one_image_is_nothing():
    assert cider([Captioned("a red dog sits", ("a red dog sits",))]) == 0.0


def test_bleu_and_rouge_of_a_caption_with_one_word_wrong():
    near = [Captioned("a b c d", ("a b c e",))]
    # 3 of 4 words, 2 of 3 pairs, 1 of 2 triples: BLEU-n is the n-th root of the product of the first n.
    assert bleu(near)[:3] == pytest.approx(((3 / 4), (3 / 4 * 2 / 3) ** (1 / 2), (3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3)))
    # The longest common run with gaps is a b c: precision and recall are 3/4.
    assert rouge_l(near) == pytest.approx(3 / 4)


def test_captions_are_tokenised_before_they_are_compared():
    scores = caption_scores(
        [
            Captioned("A red dog sits!", ("a red dog sits",)),
            Captioned("The cat's asleep.", ("“the cat 's asleep”",)),
        ]
    )
    assert scores.meteor == scores.rouge_l == 1.0
    assert scores.bleu == pytest.approx((1, 1, 1, 1))
    assert scores.cider == pytest.approx(10)
