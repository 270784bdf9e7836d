"""`glamm` on a gateway whose scheduler and workers the test plays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli.client import GlammClient
from tests.cli.conftest import Played, Run
from tests.gateway.conftest import encode, picture


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "state" / "up"


@pytest.fixture
def glamm(command, gateway: Played, data: Path) -> Callable[..., Run]:
    return lambda name, *arguments: command(name, "--url", gateway.url, "--data", data, *arguments)


@pytest.fixture
def client(gateway: Played):
    with GlammClient(gateway.url) as client:
        yield client


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four images in two folders, two of them alike."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, seed in (("a.png", 0), ("b.png", 1), ("more/a.png", 2), ("more/b.png", 1)):
        (folder / name).write_bytes(encode(picture(seed=seed)))
    return folder
