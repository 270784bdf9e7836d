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


def claim(
    file: Path, count: int = 1, *, offsets: Sequence[int] = (0,), usual: Sequence[int] = (), again: bool = False
) -> list[int]:
    """`count` ports p with p + each of `offsets` free: those that the file names, else `usual`, else any.

    The file names the choice from then on, so that a server is found where it was before. `again` leaves the earlier
    choice aside.

    Raises:
        OSError: there are not that many.
    """
    wanted: Sequence[int] = ()
    if not again:
        wanted = [int(word) for word in file.read_text().split()] if file.exists() else usual
    if len(wanted) != count or not all(is_free(port + offset) for port in wanted for offset in offsets):
        wanted = _pick(count, offsets)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(" ".join(map(str, wanted)) + "\n")
    return list(wanted)


def _pick(count: int, offsets: Sequence[int]) -> list[int]:
    chosen: list[int] = []
    # At random, so that two stacks that start at once hardly ever choose the same.
    for port in random.sample(range(LOWEST, HIGHEST + 1), HIGHEST - LOWEST + 1):
        if all(is_free(port + offset) for offset in offsets):
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise OSError(f"no {count} free TCP ports on {HOST} between {LOWEST} and {HIGHEST}")
