import pytest

from training.scenes import compose
from training.scenes.scene import Scene
from training.scenes.sprites import SpriteLibrary

SCENES = 40


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> SpriteLibrary:
    return SpriteLibrary.load(tmp_path_factory.mktemp("sprites"))


@pytest.fixture(scope="session")
def scenes(library: SpriteLibrary) -> list[Scene]:
    return [compose.scene(seed, "test", library) for seed in range(SCENES)]
