"""What a worker hears of its jobs: one that was canceled, or has failed elsewhere, is let go at once."""

import threading

from shared.database import Listener
from shared.logs import get_logger
from shared.states import State
from workers.leases import Leases

log = get_logger(__name__)

_ENDED = frozenset({State.CANCELED.value, State.FAILED.value})
_LISTEN_SECONDS = 60.0
"""Nothing depends on it: whatever is heard, and `close`, end the wait."""
_PAUSE_SECONDS = 1.0


class Ears:
    """Listens on a thread of its own. While it cannot, the renewal of the leases finds out the same, only later."""

    def __init__(self, database_url: str, leases: Leases) -> None:
        self._listener = Listener(database_url)
        self._leases = leases
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="ears", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._listener.wake()
        self._thread.join()
        self._listener.close()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._hear()
            except Exception:
                log.exception("listening.failed")
                self._closed.wait(_PAUSE_SECONDS)

    def _hear(self) -> None:
        heard = self._listener.wait(_LISTEN_SECONDS)
        if any(notice.job_id is None for notice in heard):
            self._leases.renew()  # something may have been missed
        ended = {notice.job_id for notice in heard if notice.job_id is not None and notice.state in _ENDED}
        if ended:
            self._leases.look_at(ended)
