"""The Celery application: which queue carries which stage, and how a message is written and read.

A message names a job, a stage and an attempt and carries nothing else; the truth is in Postgres. So a message may be
lost, doubled, late or out of order, and the settings below trade the broker's promises for speed: it is acknowledged
when it arrives, and the lease and the scheduler's sweep do what late acknowledgement would.
"""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError

from shared.errors import Unavailable
from shared.jobs import Message, Stage

TASKS: Final = {Stage.VISION: "vision.encode", Stage.LLM: "llm.generate", Stage.PIXEL: "pixel.decode"}
"""Stage → name of its Celery task. A stage's queue bears the name of the stage."""

Handler = Callable[[Message], None]


def celery_app(broker_url: str) -> Celery:
    """An application that can send to every stage's queue; `serve` adds the tasks that a worker answers."""
    app = Celery("glamm", broker=broker_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_queues={stage.value: {"routing_key": stage.value} for stage in Stage},
        task_create_missing_queues=False,
        task_default_queue=Stage.VISION.value,
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.4},
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_disable_rate_limits=True,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # A worker outlives its broker: it tries again for as long as it takes.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # No copy of unacknowledged messages in Redis: nothing to restore, so no visibility timeout either.
            "ack_emulation": False,
            # One list a queue. Priority is the scheduler's business; four lists a queue would be polled in vain.
            "priority_steps": [0],
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
        },
    )
    return app


def send(app: Celery, message: Message) -> None:
    """Put a message into its stage's queue. Raises `Unavailable` when the broker cannot be reached."""
    try:
        app.send_task(
            TASKS[message.stage],
            args=[str(message.job_id), message.stage.value, message.attempt],
            queue=message.stage.value,
            ignore_result=True,
        )
    except (OperationalError, OSError) as error:
        raise Unavailable("broker") from error


def serve(app: Celery, stage: Stage, handle: Handler) -> None:
    """Make `handle` the task of `stage` in this process."""

    def task(job_id: str, stage_name: str, attempt: int) -> None:
        handle(Message(UUID(job_id), Stage(stage_name), attempt))

    app.task(task, name=TASKS[stage], ignore_result=True)
