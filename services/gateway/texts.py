"""Growing text as it comes over the broker, for the streams of this process: one connection carries all of it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from shared import growing_text
from shared.logs import get_logger

_RESTART_SECONDS = 1.0
_LOOK_SECONDS = 0.2
"""So long one that begins to follow may wait until it is heard."""

log = get_logger(__name__)


class Following:
    """What has come for one job. `grown` is set when there is something to take."""

    def __init__(self) -> None:
        self.grown = asyncio.Event()
        self._texts: dict[int, str] = {}

    def put(self, texts: dict[int, str]) -> None:
        self._texts |= texts
        self.grown.set()

    def take(self) -> dict[int, str]:
        """Answer's number → all of its text so far, of those that have grown since the last call."""
        self.grown.clear()
        taken, self._texts = self._texts, {}
        return taken


class Texts:
    """Listens while somebody follows a job. While the broker is away nothing comes, and nobody is told."""

    def __init__(self, broker: Redis) -> None:
        self._broker = broker
        self._following: defaultdict[str, set[Following]] = defaultdict(set)
        self._wanted = asyncio.Event()
        self._changed = False

    @contextmanager
    def follow(self, job_id: UUID) -> Iterator[Following]:
        following, channel = Following(), growing_text.channel(job_id)
        self._following[channel].add(following)
        self._changed = True
        self._wanted.set()
        try:
            yield following
        finally:
            self._following[channel].discard(following)
            if not self._following[channel]:
                del self._following[channel]
            self._changed = True

    async def run(self) -> None:
        """Listen without end."""
        while True:
            await self._wanted.wait()
            try:
                async with self._broker.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await self._listen(pubsub)
            except (RedisError, OSError) as error:
                log.warning("texts.away", error=str(error))
                await asyncio.sleep(_RESTART_SECONDS)
            except Exception:
                log.exception("texts.failed")
                await asyncio.sleep(_RESTART_SECONDS)

    async def _listen(self, pubsub: PubSub) -> None:
        heard: set[str] = set()
        self._changed = True
        while self._following:
            if self._changed:
                self._changed, wanted = False, set(self._following)
                if wanted - heard:
                    await pubsub.subscribe(*(wanted - heard))
                if heard - wanted:
                    await pubsub.unsubscribe(*(heard - wanted))
                heard = wanted
            message = await pubsub.get_message(timeout=_LOOK_SECONDS)
            if message is not None:
                texts = growing_text.decode(message["data"])
                for following in self._following.get(message["channel"].decode(), ()):
                    following.put(texts)
        self._wanted.clear()
