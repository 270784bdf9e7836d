"""What the API's description says beyond the code: examples, request bodies and problems."""

import json
from collections.abc import Sequence
from typing import Any, get_args

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from services.gateway.errors import MEDIA_TYPE
from shared import schema
from shared.errors import (
    Conflict,
    Expired,
    Forbidden,
    GlammError,
    IdTaken,
    InvalidInput,
    LimitReached,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnderWay,
    UnsupportedMedia,
)
from shared.webhooks.events import EventType

IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "application/octet-stream")
BINARY = {"type": "string", "format": "binary"}
PNG: dict[str, Any] = {"description": "A PNG image", "content": {"image/png": {"schema": BINARY}}}

_REF = "#/components/schemas/{model}"
_IMAGE_ID = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_JOB_ID = "0198c0de-5a1e-7abc-8def-0123456789ab"
_URL = f"/jobs/{_JOB_ID}"
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
    "id": _JOB_ID,
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
    "links": {"self": _URL, "image": f"/images/{_IMAGE_ID}", "overlay": None, "conversation": None, "batch": None},
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
                "mask_url": f"{_URL}/masks/0.png",
            }
        ],
        "overlay_url": f"{_URL}/overlay.png",
        "model": "scenes-1f0c2a",
    },
    "links": {**QUEUED_JOB["links"], "overlay": f"{_URL}/overlay.png"},
}

CANCELED_JOB = {
    **QUEUED_JOB,
    "state": "canceled",
    "finished_at": "2026-01-31T12:00:00.9Z",
    "queue_position": None,
}
JOB_PAGE = {
    "jobs": [
        {
            name: value
            for name, value in FINISHED_JOB.items()
            if name not in ("queue_position", "progress", "stages", "result")
        }
    ],
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

CONVERSATION = {"id": _CONVERSATION_ID, "image": _IMAGE, "created_at": "2026-01-31T12:00:00Z", "turns": [_URL]}

QUEUED_TURN: dict[str, Any] = {
    **QUEUED_JOB,
    "task": "vqa",
    "request": _QUESTION,
    "turn": 1,
    "links": {**QUEUED_JOB["links"], "conversation": f"/conversations/{_CONVERSATION_ID}"},
}

_BATCH_ID = "0198c0de-5a1b-7abc-8def-0123456789ab"
_BATCH_URL = f"/batches/{_BATCH_ID}"
_COUNTS = {"queued": 930, "vision": 8, "llm": 16, "pixel": 2, "succeeded": 41, "failed": 3, "canceled": 0}

BATCH: dict[str, Any] = {
    "id": _BATCH_ID,
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
            "id": _JOB_ID,
            "line": 1,
            "custom_id": "frame-0001",
            "task": "gcg",
            "state": "queued",
            "image_id": None,
            "source": "s3://photos/june/0001.jpg",
            "created_at": "2026-01-31T12:00:00Z",
            "finished_at": None,
            "error": None,
            "url": _URL,
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
FINISHED_TURN: dict[str, Any] = {
    **FINISHED_JOB,
    "task": "vqa",
    "request": _QUESTION,
    "turn": 1,
    "links": {**FINISHED_JOB["links"], "conversation": f"/conversations/{_CONVERSATION_ID}"},
}

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
KEYS = {"keys": [KEY]}
LIMITS = {"requests_per_minute": 600, "stored_bytes": 50_000_000_000, "queued_jobs": None}
KEY_REQUESTS: dict[str, dict[str, Any]] = {
    "for a team": {"value": {"owner": "annotators", "scopes": ["read", "write"], "name": "nightly run"}},
    "to look on": {"value": {"owner": "annotators", "scopes": ["read"], "expires_at": "2030-01-01T00:00:00Z"}},
}
LIMIT_REQUESTS: dict[str, dict[str, Any]] = {"some": {"value": LIMITS}}

_BATCH_ID = "0198c0de-5a1b-7abc-8def-0123456789ab"
QUEUED_EXPORT: dict[str, Any] = {
    "id": "0198c0de-5a1f-7abc-8def-0123456789ab",
    "batch_id": _BATCH_ID,
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
_WEBHOOK_ID = "0198c0de-5a1b-7abc-8def-0123456789ab"
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
        "id": _JOB_ID,
        "state": "succeeded",
        "batch_id": None,
        "custom_id": None,
        "error": None,
        "links": {"self": _URL},
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

ASKS = get_args(get_args(schema.AskRequest)[0])
JOBS = get_args(get_args(schema.JobRequest)[0])
LINES = get_args(get_args(schema.ManifestLine)[0])
_BODIES = (
    schema.ConversationRequest,
    schema.KeyRequest,
    schema.OwnerLimits,
    schema.BatchRequest,
    schema.UploadsRequest,
    schema.WebhookRequest,
    schema.WebhookChange,
)

_HEADERS: dict[str, tuple[str, str | None]] = {
    "ETag": ("for If-None-Match", 'W/"5f1d7a84db00d2fce00b31a7"'),
    "Idempotency-Replayed": ("`true` for the answer of an earlier request with the same Idempotency-Key", "true"),
    "Location": ("the path of what the request made", None),
    "Preference-Applied": ("how long the request was ready to wait", "wait=30"),
    "RateLimit": ("what may be sent at once, and in how many seconds all of it may be again", '"owner";r=599;t=1'),
    "RateLimit-Policy": ("requests in a window of so many seconds", '"owner";q=600;w=60'),
    "Retry-After": ("seconds", "2"),
}
OF_A_WAIT = ("Preference-Applied",)
OF_A_NEW_ONE = ("Location", "Idempotency-Replayed")
OF_A_NEW_JOB = (*OF_A_NEW_ONE, *OF_A_WAIT)
OF_A_TAGGED_ANSWER = ("ETag",)
_OF_A_PROBLEM = {409: ("Retry-After",), 429: ("RateLimit", "RateLimit-Policy", "Retry-After"), 503: ("Retry-After",)}

NOT_ARRIVED = (
    "The image was declared as an upload and has not arrived, or a request with the same Idempotency-Key is under way",
    Conflict("The image was declared as an upload and has not arrived.", remedy="PUT its bytes to the URL first."),
)
UNDER_WAY = ("A request with the same Idempotency-Key is under way, or made something else before", UnderWay(2))
ANOTHER_REQUEST = (
    "The id has a job of another request, and `field` is where they differ",
    IdTaken("job", _JOB_ID, field="task", remedy="Send what was sent first, or choose another id."),
)
NO_TURN_NOW = (
    "A turn is not finished, the image was deleted, or a request with the same Idempotency-Key is under way",
    Conflict(f"The conversation's turn {_JOB_ID} is not finished.", remedy=f"Wait: GET {_URL}?wait=30."),
)
KEY_MADE = (
    "A request with the same Idempotency-Key is under way, or has made it and shown its secret",
    Conflict(
        f"This request has made the key {KEY['id']}, and showed its secret then.",
        field="Idempotency-Key",
        remedy="Revoke that key, and make another with an Idempotency-Key of its own.",
    ),
)

_PROBLEMS: dict[int, tuple[str, GlammError]] = {
    401: (
        "No API key, or one that opens nothing",
        Unauthenticated(
            "This service wants an API key.", field="Authorization", remedy="Send `Authorization: Bearer KEY`."
        ),
    ),
    403: (
        "The API key lacks the scope",
        Forbidden("The API key lacks the scope write.", field="Authorization", remedy="Use a key with that scope."),
    ),
    429: (
        "The owner has, or has sent, as much as it may; with Retry-After where waiting helps",
        LimitReached("requests_per_minute", 6000, "requests a minute", "Send fewer at a time.", retry_after=1),
    ),
    404: ("There is no such thing", NotFound("job", _JOB_ID)),
    409: (
        "It does not fit what the job, conversation, batch, upload or webhook is at",
        Conflict(f"The job {_JOB_ID} is not finished (llm).", remedy=f"Wait: GET {_URL}?wait=30."),
    ),
    413: (
        "Too many bytes or pixels",
        TooLarge("image", "The image has more than 33,554,432 bytes.", "Send at most 33,554,432 bytes."),
    ),
    415: (
        "A content type or kind of image that is not read",
        UnsupportedMedia("image", "The image is animated.", "Send one frame as a still image."),
    ),
    422: (
        "A field is wrong: which one, and what would be accepted",
        InvalidInput("expressions[0]", "The expression is empty.", "Send the referring expression."),
    ),
    503: ("A server behind the gateway does not answer, or the gateway is full", Unavailable("database")),
}


def headers(*names: str) -> dict[str, Any]:
    """Of an answer."""
    described = ((name, *_HEADERS[name]) for name in names)
    return {
        name: {"description": what, "schema": {"type": "string"}} | ({} if example is None else {"example": example})
        for name, what, example in described
    }


NOT_MODIFIED: dict[str, Any] = {
    "description": "It is as the request knows it (If-None-Match)",
    "headers": headers(*OF_A_TAGGED_ANSWER),
}


def problems(*statuses: int, conflict: tuple[str, GlammError] | None = None) -> dict[int | str, dict[str, Any]]:
    """Documented problem responses of a route. conflict: what 409 means there, and an example."""
    documented: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        description, error = conflict if conflict is not None and status == 409 else _PROBLEMS[status]
        content = {"schema": {"$ref": _REF.format(model="Problem")}, "example": error.to_problem().to_json()}
        documented[status] = {"description": description, "content": {MEDIA_TYPE: content}}
        if names := _OF_A_PROBLEM.get(status):
            documented[status]["headers"] = headers(*names)
    return documented


def guarded(*statuses: int, conflict: tuple[str, GlammError] | None = None) -> dict[int | str, dict[str, Any]]:
    """Those of a route that wants a key."""
    return problems(401, 403, *statuses, 429, conflict=conflict)


def example(description: str, value: Any, *named: str, model: type[BaseModel] | None = None) -> dict[str, Any]:
    """named: headers that the answer may have. model: of an answer that is not the route's first one."""
    described = {"description": description, "content": {"application/json": {"example": value}}}
    if named:
        described["headers"] = headers(*named)
    return described if model is None else {**described, "model": model}


def form(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": ["image"]}


JOB_FORM = {
    **form(
        image=BINARY,
        image_id={**TypeAdapter(schema.ImageId).json_schema(), "description": "of a stored image, in place of `image`"},
        task={"$ref": _REF.format(model="Task")},
        prompt={"type": "string"},
        question={"type": "string"},
        caption={"type": "string"},
        boxes={"type": "string", "description": "JSON", "example": "[[120, 96, 184, 160]]"},
        expressions={"type": "string", "description": "JSON", "example": '["the ball on the left"]'},
        phrases={"type": "string", "description": "JSON", "example": '["the grass"]'},
        expires_in={"type": "string", "description": "seconds", "example": "3600"},
        priority={"$ref": _REF.format(model="Priority")},
    ),
    "required": ["task"],
    "oneOf": [{"required": ["image"]}, {"required": ["image_id"]}],
}


def ref(model: str) -> str:
    return _REF.format(model=model)


def one_of(*models: type[BaseModel]) -> dict[str, Any]:
    """One of several requests, told apart by their task."""
    by_task = {
        task: ref(model.__name__) for model in models for task in get_args(model.model_fields["task"].annotation)
    }
    return {
        "oneOf": [{"$ref": reference} for reference in by_task.values()],
        "discriminator": {"propertyName": "task", "mapping": by_task},
    }


def json_body(schema_: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    """A request body that a route reads itself."""
    content = {"application/json": {"schema": schema_, "examples": examples}}
    return {"requestBody": {"required": True, "content": content}}


def install(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Describe the bodies that the routes read themselves as well, and keep the examples whole."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            requests = [(model, "validation") for model in (*ASKS, *JOBS, *LINES, *_BODIES)]
            models = [*requests, (schema.Problem, "serialization"), (schema.GrowingText, "serialization")]
            _, extra = models_json_schema(models, ref_template=_REF)  # type: ignore[arg-type]
            known = document["components"]["schemas"]
            document["components"]["schemas"] = dict(sorted({**extra["$defs"], **known}.items()))
            document["webhooks"] = {event.value: {"post": _told(event)} for event in EventType}
            for router in routers:
                _restore_examples(document, router)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]


def _told(event: EventType) -> dict[str, Any]:
    """What a webhook is sent, for the document's own part about it."""
    thing, state = event.split(".")
    data: dict[str, Any] = {**EVENT["data"], "state": state}
    if event is EventType.JOB_FAILED:
        data["error"] = {**Expired().to_problem().to_json(), "stage": "llm", "attempt": 1}
    elif event is EventType.BATCH_FINISHED:
        data = {"id": _BATCH_ID, "state": state, "links": {"self": f"/batches/{_BATCH_ID}"}}
    sent = {**EVENT, "type": event.value, "data": data}
    return {
        "tags": ["webhooks"],
        "summary": f"A {thing} has {'been ' if state == 'canceled' else ''}{state}",
        "description": "Signed by the Standard Webhooks specification: `webhook-id`, `webhook-timestamp`, "
        "`webhook-signature`. Sent again until it is answered with a status of 200 to 299.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": ref("Event")}, "example": sent}},
        },
        "responses": {"2XX": {"description": "Taken"}, "410": {"description": "Send nothing any more"}},
    }


def _restore_examples(document: dict[str, Any], router: APIRouter) -> None:
    """FastAPI drops every null from the document, also those inside of examples."""
    for route in router.routes:
        assert isinstance(route, APIRoute)
        for method in route.methods or ():
            described = document["paths"][route.path_format][method.lower()]["responses"]
            for status, response in route.responses.items():
                for media_type, content in response.get("content", {}).items():
                    described[str(status)]["content"][media_type].update(content)
