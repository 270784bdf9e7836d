"""The Celery application: which queue carries which stage, and how a message is written and read.

A message names a job, a stage and an attempt and carries nothing else; the truth is in Postgres. So a message may be
lost, doubled, late or out of order, and the settings below trade the broker's promises for speed: it is acknowledged
when it arrives, and the lease and the scheduler's sweep do what late acknowledgement would.
"""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from celery import Celery, Task
from kombu.exceptions import OperationalError

from shared.errors import Unavailable
from shared.jobs import Message, Stage

TASKS: Final = {Stage.VISION: "vision.encode", Stage.LLM: "llm.generate", Stage.PIXEL: "pixel.decode"}
"""Stage → name of its Celery task."""

Handler = Callable[[Message], None]


def queue_of(stage: Stage, urgent: bool) -> str:
    """A stage has two queues, so that a worker can ask for urgent messages alone."""
    return f"{stage.value}.urgent" if urgent else stage.value


QUEUES: Final = [queue_of(stage, urgent) for stage in Stage for urgent in (True, False)]


def celery_app(broker_url: str) -> Celery:
    """An application that can send to every stage's queue; `serve` adds the tasks that a worker answers."""
    app = Celery("glamm", broker=broker_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_queues={name: {"routing_key": name} for name in QUEUES},
        task_create_missing_queues=False,
        task_default_queue=queue_of(Stage.VISION, urgent=False),
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.4},
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
            # One list a queue: urgent messages have queues of their own; four lists a queue would be polled in vain.
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
            queue=queue_of(message.stage, message.urgent),
            ignore_result=True,
        )
    except (OperationalError, OSError) as error:
        raise Unavailable("broker") from error


def serve(app: Celery, stage: Stage, handle: Handler) -> None:
    """Make `handle` the task of `stage` in this process."""

    def task(self: Task, job_id: str, stage_name: str, attempt: int) -> None:
        urgent = self.request.delivery_info["routing_key"] == queue_of(stage, urgent=True)
        handle(Message(UUID(job_id), Stage(stage_name), attempt, urgent))

    app.task(task, bind=True, name=TASKS[stage], ignore_result=True)
