"""What requests and answers look like, for the API's description."""

import json
from typing import Any

from shared.errors import InvalidInput, UnsupportedMedia

_IMAGE_ID = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
JOB_ID = "0198c0de-5a1e-7abc-8def-0123456789ab"
URL = f"/jobs/{JOB_ID}"
_IMAGE = {"id": _IMAGE_ID, "width": 512, "height": 384, "media_type": "image/png"}

STORED_IMAGE = {**_IMAGE, "bytes": 201_344, "created": True}
KNOWN_IMAGE = {**STORED_IMAGE, "created": False}

_UPLOAD = {"sha256": _IMAGE_ID, "bytes": 201_344, "media_type": "image/png"}
UPLOAD_REQUESTS: dict[str, dict[str, Any]] = {"one image": {"value": {"images": [_UPLOAD]}}}
UPLOADS: dict[str, Any] = {
    "images": [
        {
            "id": _IMAGE_ID,
            "stored": False,
            "arrived": False,
            "upload": {
                "method": "PUT",
                "url": f"https://objects.example/glamm/uploads/0198c0de-5a1b-7abc-8def-0123456789ab/{_IMAGE_ID}?X-Amz-…",
                "headers": {"Content-Type": "image/png", "Content-Length": "201344"},
                "expires_at": "2026-01-31T13:00:00Z",
            },
        }
    ]
}

QUEUED_JOB: dict[str, Any] = {
    "id": JOB_ID,
    "task": "gcg",
    "request": {"task": "gcg", "prompt": None},
    "state": "queued",
    "image": _IMAGE,
    "source": None,
    "custom_id": None,
    "turn": None,
    "priority": "interactive",
    "created_at": "2026-01-31T12:00:00Z",
    "expires_at": "2026-02-07T12:00:00Z",
    "finished_at": None,
    "queue_position": 1,
    "progress": 0.0,
    "stages": [],
    "error": None,
    "result": None,
    "links": {"self": URL, "image": f"/images/{_IMAGE_ID}", "overlay": None, "conversation": None, "batch": None},
}


def _stage(name: str, start: str, end: str, **steps: float) -> dict[str, Any]:
    return {
        "stage": name,
        "attempt": 1,
        "worker": "host:4711",
        "started_at": f"2026-01-31T12:00:0{start}Z",
        "finished_at": f"2026-01-31T12:00:0{end}Z",
        "outcome": "completed",
        "cached": False,
        **steps,
        "error": None,
    }


FINISHED_JOB: dict[str, Any] = {
    **QUEUED_JOB,
    "state": "succeeded",
    "finished_at": "2026-01-31T12:00:00.9Z",
    "queue_position": None,
    "progress": 1.0,
    "stages": [
        _stage(
            "vision", "0.1", "0.3", waited_ms=8, fetch_ms=12, engine_wait_ms=1, engine_ms=180, store_ms=6, total_ms=200
        ),
        _stage("llm", "0.3", "0.8", waited_ms=3, fetch_ms=2, engine_wait_ms=4, engine_ms=485, store_ms=4, total_ms=497),
        _stage("pixel", "0.8", "0.9", waited_ms=3, fetch_ms=4, engine_wait_ms=1, engine_ms=80, store_ms=5, total_ms=92),
    ],
    "result": {
        "text": "A red ball lies on the grass.",
        "answers": [
            {
                "text": "A red ball lies on the grass.",
                "span": [0, 29],
                "expression": None,
                "box": None,
                "phrases": [0],
            }
        ],
        "phrases": [
            {
                "n": 0,
                "text": "A red ball",
                "span": [0, 10],
                "mask": {"size": [384, 512], "counts": "dVQ11n;2N2N1O2N1O"},
                "box": [120.0, 96.0, 184.0, 160.0],
                "area": 3209,
                "score": 0.97,
                "mask_url": f"{URL}/masks/0.png",
            }
        ],
        "overlay_url": f"{URL}/overlay.png",
        "model": "scenes-1f0c2a",
    },
    "links": {**QUEUED_JOB["links"], "overlay": f"{URL}/overlay.png"},
}

CANCELED_JOB = {
    **QUEUED_JOB,
    "state": "canceled",
    "finished_at": "2026-01-31T12:00:00.9Z",
    "queue_position": None,
}


def _listed(job: dict[str, Any]) -> dict[str, Any]:
    whole = ("queue_position", "progress", "stages", "result")
    return {name: value for name, value in job.items() if name not in whole}


JOB_PAGE = {
    "jobs": [_listed(FINISHED_JOB)],
    "next": "MjAyNi0wMS0zMSAxMjowMDowMCswMDowMCAwMTk4YzBkZQ",
}
_STREAM = [
    ("job", "1", QUEUED_JOB),
    ("job", "2", {**QUEUED_JOB, "state": "llm", "queue_position": None, "progress": 0.33}),
    ("text", "3", {"answer": 0, "text": "A red ball lies on"}),
    ("job", "end", FINISHED_JOB),
]
EVENT_STREAM: dict[str, Any] = {
    "description": "Events `job` (a Job) and `text` (a GrowingText), until the job has finished",
    "content": {
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": "".join(
                f"event: {kind}\nid: {number}\ndata: {json.dumps(data)}\n\n" for kind, number, data in _STREAM
            ),
        }
    },
}

_CONVERSATION_ID = "0198c0de-5a1d-7abc-8def-0123456789ab"
_QUESTION = {"task": "vqa", "question": "What is this?", "boxes": [[120, 96, 184, 160]]}

_CONVERSATION_URL = f"/conversations/{_CONVERSATION_ID}"
CONVERSATION = {
    "id": _CONVERSATION_ID,
    "image": _IMAGE,
    "created_at": "2026-01-31T12:00:00Z",
    "turns": [URL],
    "links": {"self": _CONVERSATION_URL, "turns": f"{_CONVERSATION_URL}/turns"},
}

QUEUED_TURN: dict[str, Any] = {
    **QUEUED_JOB,
    "task": "vqa",
    "request": _QUESTION,
    "turn": 1,
    "links": {**QUEUED_JOB["links"], "conversation": _CONVERSATION_URL},
}
FINISHED_TURN: dict[str, Any] = {
    **FINISHED_JOB,
    **{name: QUEUED_TURN[name] for name in ("task", "request", "turn")},
    "links": {**FINISHED_JOB["links"], "conversation": _CONVERSATION_URL},
}
TURN_PAGE = {"jobs": [_listed(FINISHED_TURN)], "next": "MQ"}

BATCH_ID = "0198c0de-5a1b-7abc-8def-0123456789ab"
_BATCH_URL = f"/batches/{BATCH_ID}"
_COUNTS = {"queued": 930, "vision": 8, "llm": 16, "pixel": 2, "succeeded": 41, "failed": 3, "canceled": 0}

BATCH: dict[str, Any] = {
    "id": BATCH_ID,
    "name": "street scenes, June",
    "state": "running",
    "priority": "bulk",
    "created_at": "2026-01-31T12:00:00Z",
    "expires_at": "2026-02-07T12:00:00Z",
    "finished_at": None,
    "jobs": 1000,
    "counts": _COUNTS,
    "invalid_lines": 0,
    "progress": 0.044,
    "rate": 0.73,
    "eta_seconds": 1309.6,
    "problems": [
        {
            "type": "urn:glamm:problem:unsupported-media",
            "title": "Unsupported media type",
            "jobs": 3,
            "line": 17,
            "detail": "The image is animated.",
            "url": f"{_BATCH_URL}/jobs?error_type=urn%3Aglamm%3Aproblem%3Aunsupported-media",
        }
    ],
    "links": {
        "self": _BATCH_URL,
        "jobs": f"{_BATCH_URL}/jobs",
        "results": f"{_BATCH_URL}/results.jsonl",
        "errors": f"{_BATCH_URL}/errors.jsonl",
        "export": f"{_BATCH_URL}/export",
    },
}
BATCHES = {"batches": [BATCH], "next": None}
BATCH_JOBS: dict[str, Any] = {
    "jobs": [
        {
            "id": JOB_ID,
            "line": 1,
            "custom_id": "frame-0001",
            "task": "gcg",
            "state": "queued",
            "image_id": None,
            "source": "s3://photos/june/0001.jpg",
            "created_at": "2026-01-31T12:00:00Z",
            "finished_at": None,
            "error": None,
            "url": URL,
        }
    ],
    "next": "MQ",
}
BATCH_REQUESTS: dict[str, dict[str, Any]] = {
    "stored images": {"value": {"image_ids": [_IMAGE_ID], "job": {"task": "gcg"}, "name": "street scenes, June"}},
    "a prefix of a bucket": {
        "value": {
            "s3": {"bucket": "photos", "prefix": "june/"},
            "job": {"task": "refseg", "expressions": ["the traffic lights"]},
        }
    },
}
MANIFEST = (
    f'{{"custom_id": "1", "image_id": "{_IMAGE_ID}", "task": "gcg"}}\n'
    '{"custom_id": "2", "s3_uri": "s3://photos/june/0001.jpg", "task": "vqa", "question": "What is this?"}\n'
)


def _lines(*entries: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(entry)}\n" for entry in entries)


_LINE: dict[str, Any] = {
    "line": 1,
    "custom_id": "frame-0001",
    "id": JOB_ID,
    "state": "succeeded",
    "image_id": _IMAGE_ID,
    "source": None,
    "request": {"task": "gcg"},
}
_ANIMATED = UnsupportedMedia("s3_uri", "The image is animated.", "Send one frame as a still image.").to_problem()
_NO_JSON = InvalidInput("line", "The line cannot be read as JSON.", "Send well-formed JSON in UTF-8.").to_problem()
RESULT_LINES = _lines(
    {
        **_LINE,
        "image": _IMAGE,
        "result": {
            **{name: FINISHED_JOB["result"][name] for name in ("text", "answers")},
            "phrases": [
                {name: value for name, value in phrase.items() if name != "mask_url"}
                for phrase in FINISHED_JOB["result"]["phrases"]
            ],
            "model": FINISHED_JOB["result"]["model"],
        },
    }
)
ERROR_LINES = _lines(
    {"line": 9, "custom_id": None, "id": None, "state": "invalid", "error": _NO_JSON.to_json()},
    {
        **{**_LINE, "line": 17, "custom_id": "frame-0017", "state": "failed", "image_id": None},
        "source": "s3://photos/june/0017.png",
        "error": {**_ANIMATED.to_json(), "stage": "vision", "attempt": 1},
    },
    {**_LINE, "line": 30, "custom_id": "frame-0030", "state": "canceled", "error": None},
)

KEY: dict[str, Any] = {
    "id": "0198c0de-5a1c-7abc-8def-0123456789ab",
    "owner": "annotators",
    "name": "nightly run",
    "scopes": ["read", "write"],
    "hint": "glamm_h3Yx",
    "created_at": "2026-01-31T12:00:00Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
}
CREATED_KEY = {**KEY, "secret": "glamm_h3Yx-this-is-an-example-and-opens-nothing"}
KEYS = {"keys": [KEY], "next": None}
LIMITS = {"requests_per_minute": 600, "stored_bytes": 50_000_000_000, "queued_jobs": None}
KEY_REQUESTS: dict[str, dict[str, Any]] = {
    "for a team": {"value": {"owner": "annotators", "scopes": ["read", "write"], "name": "nightly run"}},
    "to look on": {"value": {"owner": "annotators", "scopes": ["read"], "expires_at": "2030-01-01T00:00:00Z"}},
}
ALLOWANCE: dict[str, Any] = {
    "owner": "annotators",
    "own": LIMITS,
    "in_force": {**LIMITS, "queued_jobs": 1_000_000},
    "used": {"stored_bytes": 12_884_901_888, "queued_jobs": 412},
}
LIMIT_REQUESTS: dict[str, dict[str, Any]] = {"some": {"value": LIMITS}}

QUEUED_EXPORT: dict[str, Any] = {
    "id": "0198c0de-5a1f-7abc-8def-0123456789ab",
    "batch_id": BATCH_ID,
    "format": "coco",
    "state": "queued",
    "progress": 0.0,
    "jobs": 100_000,
    "bytes": None,
    "created_at": "2026-01-31T12:00:00Z",
    "finished_at": None,
    "expires_at": None,
    "url": None,
    "error": None,
}
BUILT_EXPORT = {
    **QUEUED_EXPORT,
    "state": "succeeded",
    "progress": 1.0,
    "bytes": 310_482_911,
    "finished_at": "2026-01-31T12:02:10Z",
    "expires_at": "2026-02-07T12:02:10Z",
    "url": "https://objects.example/glamm/exports/…?X-Amz-Signature=…",
}
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

ALIVE = {"status": "ok", "checks": {}}
READY = {"status": "ready", "checks": {"database": "ok", "object store": "ok", "broker": "ok"}}

TURN_REQUESTS: dict[str, dict[str, Any]] = {
    "grounded caption": {"value": {"task": "gcg"}},
    "caption": {"value": {"task": "caption"}},
    "referring segmentation": {"value": {"task": "refseg", "expressions": ["the ball on the left", "the grass"]}},
    "regions": {"value": {"task": "region_caption", "boxes": [[120, 96, 184, 160], [0, 200, 512, 384]]}},
    "question": {"value": _QUESTION},
    "question about several boxes": {
        "value": {
            "task": "vqa",
            "question": "Is <box2> larger than <box1>?",
            "boxes": [[120, 96, 184, 160], [0, 200, 512, 384]],
        }
    },
    "one of many, within an hour": {"value": {"task": "gcg", "expires_in": 3600, "priority": "bulk"}},
    "phrase grounding": {"value": {"task": "ground", "caption": "A red ball on the grass."}},
    "grounding of given phrases": {
        "value": {"task": "ground", "caption": "A red ball on the grass.", "phrases": ["the grass"]}
    },
}
JOB_REQUESTS = {name: {"value": {"image_id": _IMAGE_ID, **one["value"]}} for name, one in TURN_REQUESTS.items()}
CONVERSATION_REQUESTS = {"about a stored image": {"value": {"image_id": _IMAGE_ID}}}
