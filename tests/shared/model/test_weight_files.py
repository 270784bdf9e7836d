"""Files of weights that are damaged: each is named in an error of ours, whatever its reader makes of it."""

import io
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from shared.model import weight_files
from shared.model.checkpoint import CheckpointError

STATE = {f"layers.{index}.weight": torch.arange(12.0).reshape(3, 4) + index for index in range(4)}


def pickled(zipped: bool) -> bytes:
    """As torch writes it, or as it did before 1.6."""
    file = io.BytesIO()
    torch.save(STATE, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


FORMS = {
    "model.safetensors": save(STATE),
    "zip/pytorch_model.bin": pickled(True),
    "old/pytorch_model.bin": pickled(False),
}


def read(path: Path) -> dict[str, Tensor]:
    """Every tensor of the folder of a file."""
    entries = weight_files.inventory(path.parent)
    with weight_files.opened(path) as tensor:
        return {key: tensor(key).clone() for key in entries}


def written(folder: Path, form: str, data: bytes) -> Path:
    path = folder / form
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_file_is_read(form: str, tmp_path: Path) -> None:
    found = read(written(tmp_path, form, FORMS[form]))
    assert found.keys() == STATE.keys()
    assert all(torch.equal(tensor, STATE[key]) for key, tensor in found.items())


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_ends_early_is_named(form: str, tmp_path: Path) -> None:
    whole = FORMS[form]
    for length in {0, 1, 2, len(whole) - 1, *range(0, len(whole), max(1, len(whole) // 150))}:
        with pytest.raises(CheckpointError) as caught:
            read(written(tmp_path, form, whole[:length]))
        assert Path(form).name in str(caught.value), length
        assert not str(caught.value).endswith(": "), length


# A wrong byte can name another protocol of pickles, of which torch warns.
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", FORMS)
def test_a_file_with_wrong_bytes_is_read_or_named(form: str, tmp_path: Path) -> None:
    """Wrong numbers cannot be told from right ones; wrong structure can, and raises nothing else."""
    chance = random.Random(form)
    told: list[str] = []
    for _ in range(400):
        data = bytearray(FORMS[form])
        for _ in range(chance.choice((1, 1, 8))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            read(written(tmp_path, form, bytes(data)))
        except CheckpointError as error:
            told.append(str(error))
    assert len(told) > 20
    assert all(Path(form).name in each for each in told)
