"""Tensors as bytes: safetensors, so that shape and dtype (bfloat16 too) come back as they were."""

from safetensors.torch import load, save
from torch import Tensor

_NAME = "tensor"


def pack(tensor: Tensor) -> bytes:
    """A tensor of any device, shape and dtype → bytes."""
    packed: bytes = save({_NAME: tensor.cpu().contiguous()})
    return packed


def unpack(data: bytes) -> Tensor:
    """Bytes of `pack` → the tensor, on the CPU."""
    tensor: Tensor = load(data)[_NAME]
    return tensor
