"""What a worker asks its broker for: urgent messages still, while other work has all the threads that it may have."""

from collections.abc import Sequence
from typing import Any

from celery.bootsteps import StartStopStep
from celery.worker import state
from celery.worker.consumer import Tasks
from kombu.common import ignore_errors


class UrgentLane(StartStopStep):  # type: ignore[misc]
    """Reads the urgent queues over a channel of its own, beside Celery's consumer, which reads the others.

    A channel asks for all its queues in one blocking command, so one channel could not leave some out without waiting
    for what it asked before. With two, each asks or does not ask by its own limit.

    bulk_limit, urgent_limit: how many jobs of either kind may be under way when more of this kind are asked for. The
    pool has a thread more than `urgent_limit`: a message that was asked for comes even if the other lane has filled up
    in the meantime. So no message is held here that another worker could take.
    """

    requires = (Tasks,)

    def __init__(
        self, c: Any, urgent_queues: Sequence[str], bulk_limit: int, urgent_limit: int, **options: object
    ) -> None:
        super().__init__(c, **options)
        self._queues = urgent_queues
        self._bulk_limit = bulk_limit
        self._urgent_limit = urgent_limit
        self._consumer: Any = None

    def start(self, c: Any) -> None:
        queues = [c.app.amqp.queues[name] for name in self._queues]
        self._consumer = c.app.amqp.TaskConsumer(
            c.connection.channel(), queues=queues, on_decode_error=c.on_decode_error
        )
        self._consumer.on_message = c.create_task_handler()
        _limit(c.task_consumer.channel, self._bulk_limit)
        _limit(self._consumer.channel, self._urgent_limit)
        self._consumer.consume()

    def stop(self, c: Any) -> None:
        if self._consumer is not None:
            ignore_errors(c, self._consumer.cancel)  # type: ignore[no-untyped-call]

    def shutdown(self, c: Any) -> None:
        if self._consumer is not None:
            self.stop(c)
            ignore_errors(c, self._consumer.close)  # type: ignore[no-untyped-call]
            self._consumer = None


def _limit(channel: Any, limit: int) -> None:
    """Have the channel ask for messages while fewer than `limit` jobs are under way, and take what it has asked for."""

    def can_consume() -> bool:
        return bool(channel._in_poll) or len(state.reserved_requests) < limit

    channel.qos.can_consume = can_consume
