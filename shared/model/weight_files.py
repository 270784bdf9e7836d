"""The weight files of a Hugging Face folder, read one at a time and only as far as asked.

`model.safetensors`, `pytorch_model.bin`, or either in shards with or without their index. A `.bin` is a pickle: it is
read with torch's weights-only unpickler, which builds tensors and runs nothing.
"""

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from shared.model.checkpoint import CheckpointError

FORMS = (("model", ".safetensors"), ("pytorch_model", ".bin"))
"""Stem and ending of weight files, the safer form first: a folder may hold both."""


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies: its file, its key there, its shape, and whether its numbers are fractions."""

    path: Path
    key: str
    shape: tuple[int, ...]
    floating: bool


def inventory(folder: Path, prefix: str = "") -> dict[str, Entry]:
    """Every tensor of the folder by its key with `prefix` before it. Reads headers alone.

    Raises CheckpointError where there are no weights, a shard is missing or unreadable, two shards hold the same key,
    or the index says otherwise than the shards.
    """
    paths, mapped = _find(folder)
    entries: dict[str, Entry] = {}
    for path in paths:
        for key, entry in headers(path).items():
            if prefix + key in entries:
                raise CheckpointError(f"{key} is in two shards: {entries[prefix + key].path} and {path}")
            entries[prefix + key] = entry
    if mapped is not None:
        _compare(folder, mapped, {entry.key: entry.path.name for entry in entries.values()})
    return entries


@contextmanager
def opened(path: Path) -> Iterator[Callable[[str], Tensor]]:
    """A function that reads a tensor of the file by its key, on the CPU and in the dtype that it is stored in.

    Tensors may be views of the mapped file: they stay good after it is closed, and fill memory when they are read.
    """
    if path.suffix == ".safetensors":
        with _safetensors(path) as file:
            yield file.get_tensor
    else:
        yield _unpickled(path).__getitem__


def headers(path: Path) -> dict[str, Entry]:
    """What the file says of every tensor, without reading it."""
    if path.suffix != ".safetensors":
        tensors = _unpickled(path)
        return {key: Entry(path, key, tuple(t.shape), t.is_floating_point()) for key, t in tensors.items()}
    with _safetensors(path) as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        # The names of whole numbers begin with I and U; of fractions with F, or with BF.
        return {
            key: Entry(path, key, tuple(each.get_shape()), each.get_dtype().startswith(("F", "BF")))
            for key, each in slices.items()
        }


@contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def _unpickled(path: Path) -> dict[str, Tensor]:
    try:
        # Files from before torch 1.6 are no archives and cannot be mapped; they are read whole.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path} cannot be read as weights and nothing else: {reason}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__} where a state_dict should be")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: {key!r} is a {type(value).__name__}, not a tensor")
    return state


def _find(folder: Path) -> tuple[list[Path], dict[str, str] | None]:
    """The folder's weight files, and its index (key → file name) where it has one."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder")
    for stem, ending in FORMS:
        index = folder / f"{stem}{ending}.index.json"
        if index.is_file():
            mapped = _read_index(index)
            paths = [folder / name for name in sorted(set(mapped.values()))]
            missing = [path.name for path in paths if not path.is_file()]
            if missing:
                raise CheckpointError(f"{index} names the shard {missing[0]}, which is not there")
            return paths, mapped
        paths = _unindexed(folder, stem, ending)
        if paths:
            return paths, None
    raise CheckpointError(f"{folder} holds no weights: neither model*.safetensors nor pytorch_model*.bin")


def _unindexed(folder: Path, stem: str, ending: str) -> list[Path]:
    whole = folder / f"{stem}{ending}"
    if whole.is_file():
        return [whole]
    pattern = re.compile(rf"{stem}-(\d+)-of-(\d+){re.escape(ending)}")
    numbered = {path: match for path in sorted(folder.iterdir()) if (match := pattern.fullmatch(path.name))}
    if numbered:
        count = max(int(match[2]) for match in numbered.values())
        missing = set(range(1, count + 1)) - {int(match[1]) for match in numbered.values()}
        if missing:
            raise CheckpointError(f"{folder}: shard {min(missing)} of {count} is missing")
    return list(numbered)


def _read_index(path: Path) -> dict[str, str]:
    try:
        mapped = json.loads(path.read_text())["weight_map"]
        plain = {str(key): str(name) for key, name in mapped.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is no index of shards: it has no weight_map") from error
    for name in plain.values():
        if Path(name).name != name:
            raise CheckpointError(f"{path} names {name!r}, which is not a file of this folder")
    return plain


def _compare(folder: Path, mapped: dict[str, str], found: dict[str, str]) -> None:
    for key in sorted(mapped.keys() | found.keys()):
        if key not in found:
            raise CheckpointError(f"{folder}: the index puts {key} into {mapped[key]}, which does not hold it")
        if key not in mapped:
            raise CheckpointError(f"{folder}: {found[key]} holds {key}, which is not in the index")
        if mapped[key] != found[key]:
            raise CheckpointError(f"{folder}: the index puts {key} into {mapped[key]}, but it is in {found[key]}")
