"""From a setting's words to torch's device and type."""

import os
import shutil

import torch

from shared.errors import InvalidInput

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(name: str) -> torch.device:
    """`auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or `cuda:N`. Raises InvalidInput if not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidInput("device", f"unknown device {name!r}", "use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidInput(
            "device", f"{name!r} is not on this machine", "use auto or cpu, or expose the GPU to the process"
        )
    return device


def resolve_dtype(name: str) -> torch.dtype:
    """`float32` or `bfloat16`. Raises InvalidInput for another."""
    if name not in DTYPES:
        raise InvalidInput("dtype", f"unknown type {name!r}", "use float32 or bfloat16")
    return DTYPES[name]


def resolve_compile(wanted: bool) -> bool:
    """Raises InvalidInput where torch.compile is wanted and lacks the compiler that it calls for its kernels."""
    if wanted and not any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        raise InvalidInput("compile", "torch.compile needs a C++ compiler", "install g++ or use false")
    return wanted
