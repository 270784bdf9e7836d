"""What a webhook can be told, and how far a delivery is."""

from enum import StrEnum


class EventType(StrEnum):
    """What endpoints subscribe to."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    BATCH_FINISHED = "batch.finished"


TEST = "webhook.test"
"""The event that is sent when somebody asks for one, whatever the endpoint subscribes to."""


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class DisabledBecause(StrEnum):
    """Why an endpoint was disabled that no person disabled."""

    GONE = "gone"
    FAILING = "failing"
