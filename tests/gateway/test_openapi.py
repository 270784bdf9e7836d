"""The API's description: complete, and true."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from services.gateway import examples
from services.gateway.app import create_app
from shared import schema
from shared.settings import Settings
from shared.tasks import Task
from shared.webhooks.events import EventType

_GUARDED = {"401", "403", "429"}
ROUTES = {
    ("post", "/images"): _GUARDED | {"200", "201", "409", "413", "415", "422", "503"},
    ("post", "/images/uploads"): _GUARDED | {"200", "409", "413", "415", "422", "503"},
    ("get", "/images/{image_id}"): _GUARDED | {"200", "304", "404", "409", "413", "415", "422", "503"},
    ("delete", "/images/{image_id}"): _GUARDED | {"204", "404", "422", "503"},
    ("get", "/jobs"): _GUARDED | {"200", "422", "503"},
    ("post", "/jobs"): _GUARDED | {"200", "202", "409", "413", "415", "422", "503"},
    ("put", "/jobs/{job_id}"): _GUARDED | {"200", "202", "404", "409", "413", "415", "422", "503"},
    ("get", "/jobs/{job_id}"): _GUARDED | {"200", "304", "404", "422", "503"},
    ("get", "/jobs/{job_id}/events"): _GUARDED | {"200", "204", "404", "422", "503"},
    ("post", "/jobs/{job_id}/cancel"): _GUARDED | {"200", "404", "409", "422", "503"},
    ("get", "/jobs/{job_id}/masks/{n}.png"): _GUARDED | {"200", "304", "404", "409", "422", "503"},
    ("get", "/jobs/{job_id}/overlay.png"): _GUARDED | {"200", "304", "404", "409", "422", "503"},
    ("post", "/conversations"): _GUARDED | {"201", "409", "413", "415", "422", "503"},
    ("get", "/conversations/{conversation_id}"): _GUARDED | {"200", "404", "422", "503"},
    ("get", "/conversations/{conversation_id}/turns"): _GUARDED | {"200", "404", "422", "503"},
    ("post", "/conversations/{conversation_id}/turns"): _GUARDED
    | {"200", "202", "404", "409", "413", "415", "422", "503"},
    ("post", "/batches"): _GUARDED | {"201", "409", "413", "415", "422", "503"},
    ("get", "/batches"): _GUARDED | {"200", "422", "503"},
    ("get", "/batches/{batch_id}"): _GUARDED | {"200", "404", "422", "503"},
    ("get", "/batches/{batch_id}/jobs"): _GUARDED | {"200", "404", "422", "503"},
    ("get", "/batches/{batch_id}/results.jsonl"): _GUARDED | {"200", "404", "422", "503"},
    ("get", "/batches/{batch_id}/errors.jsonl"): _GUARDED | {"200", "404", "422", "503"},
    **{
        ("post", f"/batches/{{batch_id}}/{move}"): _GUARDED | {"200", "404", "409", "422", "503"}
        for move in ("cancel", "pause", "resume", "retry")
    },
    ("get", "/batches/{batch_id}/export"): _GUARDED | {"200", "202", "404", "422", "503"},
    ("post", "/keys"): _GUARDED | {"201", "409", "413", "415", "422", "503"},
    ("get", "/keys"): _GUARDED | {"200", "422", "503"},
    ("delete", "/keys/{key_id}"): _GUARDED | {"200", "404", "422", "503"},
    ("get", "/owners/{name}/limits"): _GUARDED | {"200", "404", "422", "503"},
    ("put", "/owners/{name}/limits"): _GUARDED | {"200", "404", "413", "415", "422", "503"},
    ("post", "/webhooks"): _GUARDED | {"201", "409", "413", "415", "422", "503"},
    ("get", "/webhooks"): _GUARDED | {"200", "422", "503"},
    ("get", "/webhooks/{webhook_id}"): _GUARDED | {"200", "404", "422", "503"},
    ("patch", "/webhooks/{webhook_id}"): _GUARDED | {"200", "404", "413", "415", "422", "503"},
    ("delete", "/webhooks/{webhook_id}"): _GUARDED | {"204", "404", "422", "503"},
    ("post", "/webhooks/{webhook_id}/rotate"): _GUARDED | {"200", "404", "409", "422", "503"},
    ("post", "/webhooks/{webhook_id}/test"): _GUARDED | {"202", "404", "409", "422", "503"},
    ("get", "/webhooks/{webhook_id}/deliveries"): _GUARDED | {"200", "404", "422", "503"},
    ("get", "/healthz"): {"200"},
    ("get", "/readyz"): {"200", "503"},
}
REPEATABLE = {path for method, path in ROUTES if method == "post"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(json.dumps(create_app(Settings()).openapi()))


def contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, media type object) of every body, in and out, and of what webhooks are sent."""
    for path, operations in {**document["paths"], **document["webhooks"]}.items():
        for method, operation in operations.items():
            bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for name, body in bodies.items():
                for media_type, content in body.get("content", {}).items():
                    yield f"{method} {path} {name} {media_type}", content


def test_every_route_and_its_answers_are_described(document) -> None:
    described = {
        (method, path): set(operation["responses"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert described == ROUTES
    assert all(
        operation["description"] for operations in document["paths"].values() for operation in operations.values()
    )


def test_problems_are_problem_json_with_an_example(document) -> None:
    for where, content in contents(document):
        if where.split()[2] >= "4" and where.split()[2] != "request":
            assert where.endswith("application/problem+json"), where
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert content["example"]["remedy"], where


def test_every_example_fits_its_schema(document) -> None:
    checked = 0
    for where, content in contents(document):
        examples = [example["value"] for example in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        validator = Draft202012Validator({**content["schema"], "components": document["components"]})
        for example in examples:
            faults = [fault.message for fault in validator.iter_errors(example)]
            assert not faults, (where, faults)
            checked += 1
    assert checked >= 20


def test_every_answer_that_is_no_picture_has_an_example(document) -> None:
    for where, content in contents(document):
        answered = where.split()[2].isdecimal() and not where.endswith("image/png")
        assert not answered or "example" in content, where


def test_what_can_be_sent_again_is_described_as_that(document) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = {parameter["name"]: parameter for parameter in operation.get("parameters", ())}
            again = method == "post" and path in REPEATABLE
            assert ("Idempotency-Key" in parameters) is again, (method, path)
            assert not again or parameters["Idempotency-Key"]["description"]
            conflict = operation["responses"].get("409", {"description": ""})["description"]
            assert again or "Idempotency-Key" not in conflict, (method, path)


def test_headers_of_answers_are_described(document) -> None:
    def headers(path: str, method: str, status: str) -> set[str]:
        return set(document["paths"][path][method]["responses"][status]["headers"])

    assert headers("/jobs", "post", "202") == {"Location", "Preference-Applied", "Idempotency-Replayed"}
    assert headers("/jobs", "post", "429") == {"RateLimit", "RateLimit-Policy", "Retry-After"}
    assert headers("/jobs/{job_id}", "get", "200") == headers("/jobs/{job_id}", "get", "304") == {"ETag"}


def test_every_reference_leads_somewhere(document) -> None:
    known = document["components"]["schemas"]
    references = {part.split('"')[0] for part in json.dumps(document).split('"#/components/schemas/')[1:]}
    assert references <= set(known)
    assert {"GcgJob", "VqaRequest", "ConversationRequest", "Problem", "Task", "Job"} <= set(known)
    assert "HTTPValidationError" not in known


@pytest.mark.parametrize(
    "example",
    [examples.QUEUED_JOB, examples.FINISHED_JOB, examples.CANCELED_JOB, examples.QUEUED_TURN, examples.FINISHED_TURN],
)
def test_the_examples_of_jobs_are_what_clients_can_read(example: dict[str, Any]) -> None:
    job = schema.Job.model_validate(example)
    for phrase in job.result.phrases if job.result else ():
        assert phrase.span is not None
        assert phrase.text == job.result.text[slice(*phrase.span)]


def test_every_event_is_described(document) -> None:
    assert set(document["webhooks"]) == {event.value for event in EventType}
    for event, operations in document["webhooks"].items():
        (content,) = operations["post"]["requestBody"]["content"].values()
        assert content["example"]["type"] == event


def test_each_task_leads_to_its_request(document) -> None:
    for path, kind in (("/jobs", "Job"), ("/conversations/{conversation_id}/turns", "Request")):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        mapping = body["discriminator"]["mapping"]
        assert set(mapping) == {task.value for task in Task}
        assert mapping["region_caption"] == f"#/components/schemas/RegionCaption{kind}"
        assert {"$ref": mapping["vqa"]} in body["oneOf"]


@pytest.mark.parametrize(
    ("form", "fits"),
    [
        ({"task": "gcg", "image": "bytes"}, True),
        ({"task": "gcg", "image_id": "0" * 64}, True),
        ({"task": "gcg", "image_id": "cat.png"}, False),
        ({"task": "gcg", "image": "bytes", "image_id": "0" * 64}, False),
        ({"task": "gcg"}, False),
        ({"image": "bytes"}, False),
    ],
)
def test_a_form_brings_an_image_or_names_one(document, form: dict[str, str], fits: bool) -> None:
    described = document["paths"]["/jobs"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert Draft202012Validator({**described, "components": document["components"]}).is_valid(form) is fits


def test_a_form_has_every_field_of_the_requests(document) -> None:
    form = document["paths"]["/jobs"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    requests = get_args(get_args(schema.JobRequest)[0])
    assert set(form["properties"]) == {"image"}.union(*(request.model_fields for request in requests))


def test_answers_may_gain_fields_and_requests_may_not(document) -> None:
    known = document["components"]["schemas"]
    assert known["GcgRequest"]["additionalProperties"] is False
    for reference in known["Job"]["properties"]["request"]["oneOf"]:
        assert "additionalProperties" not in known[reference["$ref"].split("/")[-1]]
