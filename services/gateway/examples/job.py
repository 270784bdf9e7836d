"""Jobs, and what is asked of them."""

import json
from typing import Any

from services.gateway.examples.image import IMAGE, IMAGE_ID

JOB_ID = "0198c0de-5a1e-7abc-8def-0123456789ab"
URL = f"/jobs/{JOB_ID}"
QUESTION = {"task": "vqa", "question": "What is this?", "boxes": [[120, 96, 184, 160]]}

QUEUED_JOB: dict[str, Any] = {
    "id": JOB_ID,
    "task": "gcg",
    "request": {"task": "gcg", "prompt": None},
    "state": "queued",
    "image": IMAGE,
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
    "links": {"self": URL, "image": f"/images/{IMAGE_ID}", "overlay": None, "conversation": None, "batch": None},
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


def listed(job: dict[str, Any]) -> dict[str, Any]:
    whole = ("queue_position", "progress", "stages", "result")
    return {name: value for name, value in job.items() if name not in whole}


JOB_PAGE = {
    "jobs": [listed(FINISHED_JOB)],
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


TURN_REQUESTS: dict[str, dict[str, Any]] = {
    "grounded caption": {"value": {"task": "gcg"}},
    "caption": {"value": {"task": "caption"}},
    "referring segmentation": {"value": {"task": "refseg", "expressions": ["the ball on the left", "the grass"]}},
    "regions": {"value": {"task": "region_caption", "boxes": [[120, 96, 184, 160], [0, 200, 512, 384]]}},
    "question": {"value": QUESTION},
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
JOB_REQUESTS = {name: {"value": {"image_id": IMAGE_ID, **one["value"]}} for name, one in TURN_REQUESTS.items()}
