"""Writing weights as safetensors shards whose number is not known beforehand."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

SHARD_BYTES = 2**30
"""Writing a shard takes its size twice: its weights, and the bytes that go to the disk."""


class ShardWriter:
    """Takes weights one by one and keeps at most `limit` bytes of them in memory.

    Shards get their names, `STEM.safetensors` or `STEM-00001-of-00003.safetensors`, when `close` knows how many there
    are; until then whatever carried such a name before stays as it was. Each header holds the digest of its tensors.
    """

    def __init__(self, folder: Path, stem: str, limit: int) -> None:
        self._folder, self._stem, self._limit = folder, stem, limit
        self._open: dict[str, Tensor] = {}
        self._filled = 0
        self._written: list[tuple[Path, list[str]]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, tensor: Tensor) -> None:
        """Stores the tensor as it is, in its own dtype. It must not change until `close`."""
        size = tensor.numel() * tensor.element_size()
        if self._open and self._filled + size > self._limit:
            self._flush()
        self._open[name] = tensor.contiguous()
        self._filled += size

    def close(self) -> dict[str, str]:
        """Gives the shards their names, in place of older ones of this stem → weight name: file name."""
        if self._open or not self._written:
            self._flush()
        for old in self._folder.glob(f"{self._stem}*.safetensors"):
            old.unlink()
        files = {}
        for index, (path, names) in enumerate(self._written, 1):
            suffix = f"-{index:05}-of-{len(self._written):05}" if len(self._written) > 1 else ""
            final = path.rename(self._folder / f"{self._stem}{suffix}.safetensors")
            files.update(dict.fromkeys(names, final.name))
        return files

    def _flush(self) -> None:
        path = self._folder / f"{self._stem}-{len(self._written) + 1:05}.partial"
        save_file(self._open, path, metadata={"format": "pt", "part": self._stem, "sha256": _digest(self._open)})
        # safetensors writes for the owner alone, but a container's user must read what another user wrote.
        path.chmod(0o644)
        self._written.append((path, list(self._open)))
        self._open, self._filled = {}, 0


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
