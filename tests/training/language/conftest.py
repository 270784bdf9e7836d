"""Imagined scenes for the tests of what is said of them."""

import numpy as np
import pytest

from tests.training.language.reading import USAGE
from training.language.imagined import imagine
from training.scenes.scene import Scene

COUNT = 200


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    return [imagine(USAGE, np.random.default_rng([number, 3])) for number in range(COUNT)]
