"""Sources mixed by rates into one endless stream whose n-th sample follows from the seed and n alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.sample import Dataset, Sample


@dataclass(frozen=True)
class Share:
    """One process's part of every step: `accumulation` batches of `batch` samples."""

    batch: int
    accumulation: int = 1
    process: int = 0
    processes: int = 1

    def positions(self, step: int, part: int) -> range:
        """Where in the stream the samples of the step's batch number `part` lie.

        A step takes batch × accumulation × processes samples, the same ones however these three share them out.
        """
        first = ((step * self.accumulation + part) * self.processes + self.process) * self.batch
        return range(first, first + self.batch)


class Mixture:
    def __init__(self, sources: Sequence[tuple[Dataset, float]], seed: int) -> None:
        """sources: with their rates, which need not add up to 1. Raises ValueError where a source has no sample."""
        for dataset, _ in sources:
            if not len(dataset):
                raise ValueError("a source has no samples")
        rates = np.array([rate for _, rate in sources])
        self._datasets = [dataset for dataset, _ in sources]
        self._chances, self._seed = rates / rates.sum(), seed

    def __getitem__(self, position: int) -> Sample:
        """The stream's sample number `position`; sources are drawn by rate, their records evenly, with replacement."""
        rng = np.random.default_rng([self._seed, position])
        dataset = self._datasets[int(rng.choice(len(self._datasets), p=self._chances))]
        return dataset.sample(int(rng.integers(len(dataset))), rng)

    def batches(self, share: Share, step: int, first: int = 0, stride: int = 1) -> Iterator[list[Sample]]:
        """A process's batches from a step on, without end; of these every `stride`-th from the `first`-th."""
        number = step * share.accumulation + first
        while True:
            yield [self[position] for position in share.positions(*divmod(number, share.accumulation))]
            number += stride


def draw(dataset: Dataset, index: int) -> Sample:
    """The record's sample as it is at every validation."""
    return dataset.sample(index, np.random.default_rng(index))
