"""Tells whoever listens how a job's answers grow, and costs next to nothing while nobody does.

The engine's thread only leaves text in memory, and only where the text before has been taken away: so the rate is this
thread's, whatever the model's is. Whether anybody listens to a job the broker knows.
"""

import threading
from collections.abc import Mapping
from uuid import UUID
from weakref import WeakSet

import redis
from redis.exceptions import RedisError

from shared import growing_text
from shared.logs import get_logger
from shared.model.grounding import clean

EVERY_SECONDS = 0.2
_AWAY_SECONDS = 5.0
_TIMEOUT_SECONDS = 2.0

log = get_logger(__name__)


class Telling:
    """Follows a job's answers for this teller; a `Follower`, shared between the engine's thread and the teller's."""

    def __init__(self, job_id: UUID, teller: "Teller") -> None:
        self.job_id = job_id
        self.heard = False
        """Whether somebody listened when last looked."""
        self._teller = teller
        self._lock = threading.Lock()
        self._texts: dict[int, str] = {}

    def wants(self, answer: int, ended: bool) -> bool:
        return self.heard and (ended or answer not in self._texts)

    def grown(self, answer: int, text: str) -> None:
        with self._lock:
            self._texts[answer] = text
        self._teller.keep(self)

    def take(self) -> Mapping[int, str]:
        """What has grown since the last call, with its markup."""
        with self._lock:
            taken, self._texts = self._texts, {}
        return taken

    def give_back(self, taken: Mapping[int, str]) -> None:
        """What could not be told is told next time, unless more has grown since."""
        with self._lock:
            self._texts = {**taken, **self._texts}
        self._teller.keep(self)


class Teller:
    """Publishes on a thread of its own, at most every 0.2 s a job."""

    def __init__(self, broker_url: str) -> None:
        # Celery's name for a Unix socket is its own.
        self._broker: redis.Redis = redis.Redis.from_url(
            broker_url.replace("redis+socket://", "unix://"),
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
        )
        self._lock = threading.Lock()
        self._begun = threading.Event()
        # A job that has left the engine is followed no more; one with text to tell is kept until it is told.
        self._live: WeakSet[Telling] = WeakSet()
        self._untold: set[Telling] = set()
        threading.Thread(target=self._run, name="telling", daemon=True).start()

    def follow(self, job_id: UUID) -> Telling:
        telling = Telling(job_id, self)
        with self._lock:
            self._live.add(telling)
        self._begun.set()
        return telling

    def keep(self, telling: Telling) -> None:
        with self._lock:
            self._untold.add(telling)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._begun.wait()
            try:
                self._tell()
                pause.wait(EVERY_SECONDS)
            except RedisError as error:
                log.debug("telling.away", error=str(error))
                pause.wait(_AWAY_SECONDS)
            except Exception:
                log.exception("telling.failed")
                pause.wait(_AWAY_SECONDS)

    def _tell(self) -> None:
        with self._lock:
            live, untold = list(self._live), list(self._untold)
            if not live and not untold:
                self._begun.clear()
        if live:
            channels = [growing_text.channel(telling.job_id) for telling in live]
            listeners = [count for _, count in self._broker.pubsub_numsub(*channels)]
            for telling, count in zip(live, listeners, strict=True):
                telling.heard = count > 0
        for telling in untold:
            # Before its text is taken: text that comes from then on puts it back.
            with self._lock:
                self._untold.discard(telling)
            taken = telling.take()
            try:
                texts = {answer: _readable(text) for answer, text in taken.items()}
                self._broker.publish(growing_text.channel(telling.job_id), growing_text.encode(texts))
            except RedisError:
                telling.give_back(taken)
                raise


def _readable(text: str) -> str:
    """As the answer will be shown; a character of which the model has not said every byte yet is left out."""
    return clean(text).rstrip("\N{REPLACEMENT CHARACTER}")
