"""The features store: what the vision stage made of an image, kept in Redis for the stages after it.

A cache and nothing more. Every value has a time to live, the server may evict any of them, and a reader that misses one
sends its job back to vision. Values are opaque bytes here; the workers know them as tensors.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import redis
from redis.exceptions import BusyLoadingError

from shared.errors import Unavailable

GLOBAL: Final = "global"
"""Part: the global image tokens."""
SAM: Final = "sam"
"""Part: the grounding encoder's embedding."""
LEVELS: Final = "levels"
"""Part: the hidden states that the region encoder reads. Kept of images that a conversation is about."""


def region_part(boxes: Sequence[Sequence[float]]) -> str:
    """The part that holds the region tokens of `boxes`: the same boxes in the same order share it."""
    numbers = [number for box in boxes for number in box]
    return f"region:{hashlib.sha256(struct.pack(f'<{len(numbers)}d', *numbers)).hexdigest()[:32]}"


class FeatureStore:
    """Named parts of images under a model's fingerprint. Safe to share between threads.

    Every method raises `Unavailable` when the server cannot be reached.
    """

    def __init__(self, url: str, fingerprint: str, ttl: timedelta) -> None:
        self._client: redis.Redis = redis.Redis.from_url(
            url, socket_timeout=10, socket_connect_timeout=3, socket_keepalive=True, health_check_interval=30
        )
        self._fingerprint = fingerprint
        self._ttl = int(ttl.total_seconds())

    def key(self, image_id: str, part: str) -> str:
        """The Redis key of one part of one image."""
        return f"glamm:f:{self._fingerprint}:{image_id}:{part}"

    def put(self, image_id: str, parts: Mapping[str, bytes]) -> None:
        """Store parts of an image, each for the store's time to live."""
        with _reaching("features"):
            pipeline = self._client.pipeline(transaction=False)
            for part, value in parts.items():
                pipeline.set(self.key(image_id, part), value, ex=self._ttl)
            pipeline.execute()

    def get(self, image_id: str, parts: Sequence[str]) -> dict[str, bytes]:
        """Those of `parts` that are there, their time to live begun anew."""
        with _reaching("features"):
            pipeline = self._client.pipeline(transaction=False)
            for part in parts:
                pipeline.getex(self.key(image_id, part), ex=self._ttl)
            values = pipeline.execute()
        return {part: value for part, value in zip(parts, values, strict=True) if value is not None}

    def touch(self, image_id: str, parts: Sequence[str]) -> set[str]:
        """Those of `parts` that are there; begins their time to live anew without reading them."""
        with _reaching("features"):
            pipeline = self._client.pipeline(transaction=False)
            for part in parts:
                pipeline.expire(self.key(image_id, part), self._ttl)
            found = pipeline.execute()
        return {part for part, there in zip(parts, found, strict=True) if there}

    def close(self) -> None:
        self._client.close()


@contextmanager
def _reaching(service: str) -> Iterator[None]:
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, BusyLoadingError) as error:
        raise Unavailable(service) from error
