"""Webhooks and their deliveries."""

from typing import Any

from services.gateway.examples.job import JOB_ID, URL

_WEBHOOK_ID = "0198c0de-5a1a-7abc-8def-0123456789ab"
WEBHOOK: dict[str, Any] = {
    "id": _WEBHOOK_ID,
    "url": "https://annotators.example/glamm",
    "events": ["job.failed", "job.succeeded"],
    "description": "nightly run",
    "enabled": True,
    "disabled_because": None,
    "created_at": "2026-01-31T12:00:00Z",
    "failing_since": None,
}
CREATED_WEBHOOK = {**WEBHOOK, "secret": "whsec_dGhpcyBpcyBhbiBleGFtcGxlIGFuZCBzaWducyBubyBtb3Jl"}
WEBHOOKS = {"webhooks": [WEBHOOK], "next": None}
EVENT: dict[str, Any] = {
    "type": "job.succeeded",
    "timestamp": "2026-01-31T12:00:00.900000Z",
    "data": {
        "id": JOB_ID,
        "state": "succeeded",
        "batch_id": None,
        "custom_id": None,
        "error": None,
        "links": {"self": URL},
    },
}
DELIVERY: dict[str, Any] = {
    "id": "0198c0de-5a1e-7abd-8def-0123456789ab",
    "event": "job.succeeded",
    "state": "delivered",
    "created_at": "2026-01-31T12:00:00.9Z",
    "finished_at": "2026-01-31T12:00:06.8Z",
    "next_at": None,
    "payload": EVENT,
    "attempts": [
        {"at": "2026-01-31T12:00:01.2Z", "ms": 38.2, "status": 503, "error": None, "response": "try later"},
        {"at": "2026-01-31T12:00:06.7Z", "ms": 21.5, "status": 204, "error": None, "response": ""},
    ],
}
DELIVERIES = {"deliveries": [DELIVERY], "next": None}
TEST_DELIVERY: dict[str, Any] = {
    **DELIVERY,
    "event": "webhook.test",
    "state": "pending",
    "finished_at": None,
    "next_at": "2026-01-31T12:00:00.9Z",
    "payload": {
        "type": "webhook.test",
        "timestamp": "2026-01-31T12:00:00.900000Z",
        "data": {"id": _WEBHOOK_ID, "links": {"self": f"/webhooks/{_WEBHOOK_ID}"}},
    },
    "attempts": [],
}
WEBHOOK_REQUESTS: dict[str, dict[str, Any]] = {
    "jobs": {"value": {"url": WEBHOOK["url"], "events": ["job.succeeded", "job.failed"], "description": "nightly run"}},
    "batches": {"value": {"url": WEBHOOK["url"], "events": ["batch.finished"]}},
}
WEBHOOK_CHANGES: dict[str, dict[str, Any]] = {
    "off": {"value": {"enabled": False}},
    "elsewhere": {"value": {"url": "https://elsewhere.example/glamm", "events": ["job.failed"]}},
}
