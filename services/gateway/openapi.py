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
    InvalidInput,
    LimitReached,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
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

QUEUED_JOB: dict[str, Any] = {
    "id": _JOB_ID,
    "task": "gcg",
    "request": {"task": "gcg", "prompt": None},
    "state": "queued",
    "image": _IMAGE,
    "turn": None,
    "created_at": "2026-01-31T12:00:00Z",
    "finished_at": None,
    "queue_position": 1,
    "progress": 0.0,
    "stages": [],
    "error": None,
    "result": None,
    "links": {"self": _URL, "image": f"/images/{_IMAGE_ID}", "overlay": None, "conversation": None},
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

_BATCH_ID = "0198c0de-5a1a-7abc-8def-0123456789ab"
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
    "data": {"id": _JOB_ID, "state": "succeeded", "error": None, "links": {"self": _URL}},
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
    "phrase grounding": {"value": {"task": "ground", "caption": "A red ball on the grass."}},
    "grounding of given phrases": {
        "value": {"task": "ground", "caption": "A red ball on the grass.", "phrases": ["the grass"]}
    },
}
JOB_REQUESTS = {name: {"value": {"image_id": _IMAGE_ID, **one["value"]}} for name, one in TURN_REQUESTS.items()}
CONVERSATION_REQUESTS = {"about a stored image": {"value": {"image_id": _IMAGE_ID}}}

ASKS = get_args(get_args(schema.AskRequest)[0])
JOBS = get_args(get_args(schema.JobRequest)[0])

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
        "The job has no result or none yet, or the conversation or the webhook takes nothing now",
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


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documented problem responses of a route."""
    documented: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        description, error = _PROBLEMS[status]
        content = {"schema": {"$ref": _REF.format(model="Problem")}, "example": error.to_problem().to_json()}
        documented[status] = {"description": description, "content": {MEDIA_TYPE: content}}
    return documented


def guarded(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Those of a route that wants a key."""
    return problems(401, 403, *statuses, 429)


def example(description: str, value: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": value}}}


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
            requests = [
                (model, "validation")
                for model in (
                    *ASKS,
                    *JOBS,
                    schema.ConversationRequest,
                    schema.KeyRequest,
                    schema.OwnerLimits,
                    schema.WebhookRequest,
                    schema.WebhookChange,
                )
            ]
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
