"""Batches, their lines, and exports of them."""

import json
from typing import Any

from services.gateway.examples.image import IMAGE, IMAGE_ID
from services.gateway.examples.job import FINISHED_JOB, JOB_ID, URL
from shared.errors import InvalidInput, UnsupportedMedia

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
    "stored images": {"value": {"image_ids": [IMAGE_ID], "job": {"task": "gcg"}, "name": "street scenes, June"}},
    "a prefix of a bucket": {
        "value": {
            "s3": {"bucket": "photos", "prefix": "june/"},
            "job": {"task": "refseg", "expressions": ["the traffic lights"]},
        }
    },
}
MANIFEST = (
    f'{{"custom_id": "1", "image_id": "{IMAGE_ID}", "task": "gcg"}}\n'
    '{"custom_id": "2", "s3_uri": "s3://photos/june/0001.jpg", "task": "vqa", "question": "What is this?"}\n'
)


def _lines(*entries: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(entry)}\n" for entry in entries)


_LINE: dict[str, Any] = {
    "line": 1,
    "custom_id": "frame-0001",
    "id": JOB_ID,
    "state": "succeeded",
    "image_id": IMAGE_ID,
    "source": None,
    "request": {"task": "gcg"},
}
_ANIMATED = UnsupportedMedia("s3_uri", "The image is animated.", "Send one frame as a still image.").to_problem()
_NO_JSON = InvalidInput("line", "The line cannot be read as JSON.", "Send well-formed JSON in UTF-8.").to_problem()
RESULT_LINES = _lines(
    {
        **_LINE,
        "image": IMAGE,
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
