"""Free TCP ports on loopback for servers that have to be told their port.

A port that was free a moment ago may be taken when the server binds it, so a choice is only ever a proposal: whoever
starts the server tries again with another one if it finds it taken.
"""

import random
import socket
from collections.abc import Sequence
from pathlib import Path

HOST = "127.0.0.1"

# Below the range that Linux hands to outgoing connections, which come and go at any time.
LOWEST, HIGHEST = 11_000, 21_999


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def pick(count: int, offsets: Sequence[int] = (0,), prefer: Sequence[int] = ()) -> list[int]:
    """`count` different ports p with p + each of `offsets` free; `prefer` as it is when all of it is free."""
    if len(prefer) == count and all(is_free(port + offset) for port in prefer for offset in offsets):
        return list(prefer)
    chosen: list[int] = []
    for port in random.sample(range(LOWEST, HIGHEST + 1), HIGHEST - LOWEST + 1):
        if all(is_free(port + offset) for offset in offsets):
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise OSError(f"no free TCP port on {HOST} between {LOWEST} and {HIGHEST}")


def remembered(path: Path) -> list[int]:
    """The ports written by `remember`, or none."""
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def remember(path: Path, ports: Sequence[int]) -> None:
    path.write_text(" ".join(map(str, ports)) + "\n")
