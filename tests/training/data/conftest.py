"""Pictures for the readers."""

from pathlib import Path

import pytest
from PIL import Image

from tests.training.data.files import HEIGHT, WIDTH


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("one.jpg", "two.jpg"):
        Image.new("RGB", (WIDTH, HEIGHT), "teal").save(folder / name)
    return folder
