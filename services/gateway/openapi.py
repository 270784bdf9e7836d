"""What the API's description says beyond the code: request bodies, headers and problems."""

from collections.abc import Sequence
from typing import Any, get_args

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from services.gateway import examples
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
CHANGED = (
    "The upload changed while it was read",
    Conflict("The image changed while it was read.", field="image_id", remedy="Send the request again."),
)
UNDER_WAY = ("A request with the same Idempotency-Key is under way, or made something else before", UnderWay(2))
ANOTHER_REQUEST = (
    "The id has a job of another request, and `field` is where they differ",
    IdTaken("job", examples.JOB_ID, field="task", remedy="Send what was sent first, or choose another id."),
)
NO_TURN_NOW = (
    "A turn is not finished, the image was deleted, or a request with the same Idempotency-Key is under way",
    Conflict(
        f"The conversation's turn {examples.JOB_ID} is not finished.", remedy=f"Wait: GET {examples.URL}?wait=30."
    ),
)
KEY_MADE = (
    "A request with the same Idempotency-Key is under way, or has made it and shown its secret",
    Conflict(
        f"This request has made the key {examples.KEY['id']}, and showed its secret then.",
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
    404: ("There is no such thing", NotFound("job", examples.JOB_ID)),
    409: (
        "It does not fit what the job, conversation, batch, upload or webhook is at",
        Conflict(f"The job {examples.JOB_ID} is not finished (llm).", remedy=f"Wait: GET {examples.URL}?wait=30."),
    ),
    413: (
        "Too many bytes or pixels",
        TooLarge("image", "The image has more than 33,554,432 bytes.", "Send at most 33,554,432 bytes."),
    ),
    415: (
        "A content type or kind of image that is not read, or a compressed body",
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
        max_new_tokens={"type": "string", "description": "a whole number", "example": "64"},
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
    data: dict[str, Any] = {**examples.EVENT["data"], "state": state}
    if event is EventType.JOB_FAILED:
        data["error"] = {**Expired().to_problem().to_json(), "stage": "llm", "attempt": 1}
    elif event is EventType.BATCH_FINISHED:
        data = {"id": examples.BATCH_ID, "state": state, "links": {"self": f"/batches/{examples.BATCH_ID}"}}
    sent = {**examples.EVENT, "type": event.value, "data": data}
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
