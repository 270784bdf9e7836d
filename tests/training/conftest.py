from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Several threads add up gradients in an order of their own; one makes runs the same to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
