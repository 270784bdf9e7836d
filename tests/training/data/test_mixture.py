"""The mixture is one stream that follows from its seed, however processes and workers share it out."""

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from numpy.random import Generator

from training.data.mixture import Mixture, Share
from training.data.sample import Dataset, Sample, Turn


class Numbered(Dataset):
    """Samples that say which they are, and what was drawn for them."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int, rng: Generator) -> Sample:
        return Sample(Path(self.name), (Turn(str(rng.integers(1000)), ""),), Path(self.name), index)


@pytest.fixture
def mixture() -> Mixture:
    return Mixture([(Numbered("caption", 7), 0.15), (Numbered("region", 5), 0.4), (Numbered("segm", 3), 0.45)], seed=1)


def test_sources_come_by_their_rates(mixture: Mixture) -> None:
    drawn = [mixture[position] for position in range(4000)]
    counts = Counter(sample.source.name for sample in drawn)
    assert {name: count / 4000 for name, count in counts.items()} == pytest.approx(
        {"caption": 0.15, "region": 0.4, "segm": 0.45}, abs=0.03
    )
    assert {sample.index for sample in drawn if sample.source.name == "caption"} == set(range(7))


def test_a_sample_follows_from_seed_and_position(mixture: Mixture) -> None:
    again = Mixture([(Numbered("caption", 7), 0.3), (Numbered("region", 5), 0.8), (Numbered("segm", 3), 0.9)], seed=1)
    other = Mixture([(Numbered("caption", 7), 0.15), (Numbered("region", 5), 0.4), (Numbered("segm", 3), 0.45)], seed=2)
    assert [mixture[n] for n in range(50)] == [again[n] for n in range(50)]
    assert [mixture[n] for n in range(50)] != [other[n] for n in range(50)]


@pytest.mark.parametrize(
    ("batch", "accumulation", "processes"), [(8, 1, 1), (2, 4, 1), (2, 2, 2), (1, 1, 8), (1, 2, 4)]
)
def test_a_step_holds_the_same_samples_on_any_machine(batch: int, accumulation: int, processes: int) -> None:
    shares = [Share(batch, accumulation, process, processes) for process in range(processes)]
    positions = [n for share in shares for part in range(accumulation) for n in share.positions(5, part)]
    assert sorted(positions) == list(range(40, 48))


def test_a_resumed_stream_goes_on_as_it_would_have(mixture: Mixture) -> None:
    share = Share(batch=2, accumulation=3)
    whole = list(islice(mixture.batches(share, step=0), 12))
    assert list(islice(mixture.batches(share, step=2), 6)) == whole[6:]


def test_workers_share_out_the_same_stream(mixture: Mixture) -> None:
    share = Share(batch=2, accumulation=3)
    whole = list(islice(mixture.batches(share, step=1), 8))
    first, second = (islice(mixture.batches(share, 1, worker, 2), 4) for worker in range(2))
    assert [batch for pair in zip(first, second, strict=True) for batch in pair] == whole


def test_a_source_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        Mixture([(Numbered("caption", 0), 1)], seed=0)
