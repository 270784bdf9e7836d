"""A message through a real broker and a real Celery worker."""

from queue import SimpleQueue

import pytest
from celery.contrib.testing.worker import start_worker

from shared.ids import uuid7
from shared.jobs import Message, Stage
from shared.queue import celery_app, send, serve


@pytest.mark.parametrize("stage", Stage)
def test_a_message_arrives_as_it_was_sent(broker_url: str, stage: Stage) -> None:
    received: SimpleQueue[Message] = SimpleQueue()
    app = celery_app(broker_url)
    serve(app, stage, received.put)
    sent = [Message(uuid7(), stage, attempt, urgent) for attempt in (0, 2) for urgent in (True, False)]
    with start_worker(app, pool="solo", perform_ping_check=False):
        for message in sent:
            send(app, message)
        arrived = [received.get(timeout=300) for _ in sent]
    assert sorted(arrived, key=lambda message: message.job_id) == sent
