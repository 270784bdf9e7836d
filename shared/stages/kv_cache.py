"""The key-value cache of sequences of different lengths that are stepped as one batch.

transformers' own caches hold one length for the whole batch. Here every row has its own, so that a sequence may enter
or leave between any two steps. LLaMA's layers only ever call `update`.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

GROWTH = 256


class RowCache:
    """Rows 0..n-1 are live sequences, each with its own length. Memory for rows × length grows as needed.

    most: rows that there will ever be; memory is taken for no more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.lengths: list[int] = []
        self._layers: list[tuple[Tensor, Tensor]] = []
        self._positions = torch.zeros(0, dtype=torch.long)

    def __len__(self) -> int:
        return len(self.lengths)

    def add(self, prefill: DynamicCache, row: int) -> None:
        """Takes over row `row` of a first pass over whole prompts as a new last row."""
        computed: list[tuple[Tensor, Tensor]] = [(layer.keys, layer.values) for layer in prefill.layers]  # type: ignore[misc, union-attr]
        length = computed[0][0].shape[2]
        new = len(self.lengths)
        if not self._layers:
            self._layers = [(_enlarged(keys[:0], 0, 0), _enlarged(values[:0], 0, 0)) for keys, values in computed]
        self._grow(new + 1, length + 1)
        for (keys, values), (new_keys, new_values) in zip(self._layers, computed, strict=True):
            keys[new, :, :length] = new_keys[row]
            values[new, :, :length] = new_values[row]
        self.lengths.append(length)

    def remove(self, row: int) -> None:
        """Frees a row. The last row moves into its place."""
        last = len(self.lengths) - 1
        if row != last:
            for keys, values in self._layers:
                keys[row], values[row] = keys[last], values[last]
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()

    def begin_step(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Makes room for one token a row → its positions (n, 1) and the attention mask (n, 1, 1, longest + 1)."""
        longest = max(self.lengths) + 1
        self._grow(len(self.lengths), longest)
        self._positions = torch.tensor(self.lengths, device=device)
        mask = torch.arange(longest, device=device) <= self._positions[:, None]
        return self._positions[:, None], mask[:, None, None]

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Writes each row's token, (n, heads, 1, d), at the row's own position and returns all keys and values."""
        n, longest = len(self.lengths), max(self.lengths) + 1
        rows = torch.arange(n, device=keys.device)
        all_keys, all_values = self._layers[layer]
        all_keys[rows, :, self._positions] = keys[:, :, 0]
        all_values[rows, :, self._positions] = values[:, :, 0]
        return all_keys[:n, :, :longest], all_values[:n, :, :longest]

    def end_step(self) -> None:
        self.lengths = [length + 1 for length in self.lengths]

    def _grow(self, rows: int, length: int) -> None:
        has_rows, _, has_length, _ = self._layers[0][0].shape
        if rows <= has_rows and length <= has_length:
            return
        # Doubling rows and rounding lengths keeps the number of copies small while a batch fills up.
        new_rows = has_rows if rows <= has_rows else min(max(rows, 2 * has_rows), self._most)
        new_length = has_length if length <= has_length else -(-length // GROWTH) * GROWTH
        self._layers = [
            (_enlarged(keys, new_rows, new_length), _enlarged(values, new_rows, new_length))
            for keys, values in self._layers
        ]


def _enlarged(tensor: Tensor, rows: int, length: int) -> Tensor:
    larger = tensor.new_zeros(rows, tensor.shape[1], length, tensor.shape[3])
    kept = min(tensor.shape[2], length)
    larger[: tensor.shape[0], :, :kept] = tensor[:, :, :kept]
    return larger
