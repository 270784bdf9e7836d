"""How near captions come to those that people wrote: METEOR, CIDEr, BLEU and ROUGE-L of a whole set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.metrics.captions import tokenized
from training.metrics.meteor import Meteor, corpus_scores
from training.metrics.progress import Track, unwatched


@dataclass(frozen=True)
class Captioned:
    """What was said of one image or region, and what people said of it (one caption or more)."""

    said: str
    references: tuple[str, ...]

    def tokenized(self) -> "Captioned":
        return Captioned(tokenized(self.said), tuple(map(tokenized, self.references)))


@dataclass(frozen=True)
class CaptionScores:
    """Fractions; papers print them times 100. cider may exceed 1; bleu: of 1 to 4 words in a row."""

    meteor: float
    cider: float
    bleu: tuple[float, float, float, float]
    rouge_l: float


def caption_scores(captions: Sequence[Captioned], track: Track = unwatched) -> CaptionScores:
    """The set's scores. Captions are tokenised here; CIDEr's word weights come from the references of this very set."""
    tokens = [item.tokenized() for item in captions]
    return CaptionScores(meteor(tokens, track), cider(tokens), bleu(tokens), rouge_l(tokens))


def meteor(captions: Sequence[Captioned], track: Track = unwatched) -> float:
    """Of tokenised captions, as the three below."""
    scorer = Meteor.for_texts(text for item in captions for text in (item.said, *item.references))
    return corpus_scores(scorer.statistics(item.said, item.references) for item in track(captions, "METEOR")).corpus


def cider(captions: Sequence[Captioned]) -> float:
    """CIDEr-D. Words that every image's references share weigh nothing, so a set of one image scores 0."""
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    scorer = CiderScorer(n=4, sigma=6.0)
    for item in captions:
        scorer += (item.said, list(item.references))
    return float(scorer.compute_score()[0])


def bleu(captions: Sequence[Captioned]) -> tuple[float, float, float, float]:
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=4)
    for item in captions:
        scorer += (item.said, list(item.references))
    one, two, three, four = map(float, scorer.compute_score(option="closest")[0])
    return one, two, three, four


def rouge_l(captions: Sequence[Captioned]) -> float:
    from pycocoevalcap.rouge.rouge import Rouge

    rouge = Rouge()
    return float(np.mean([rouge.calc_score([item.said], list(item.references)) for item in captions]))
