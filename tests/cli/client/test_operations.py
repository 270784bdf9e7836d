"""Each operation of the gateway's OpenAPI document is a method of both clients, and the same as it."""

import ast
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from pathlib import Path
from types import NoneType
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from services.cli import client
from services.cli.client import AsyncGlammClient, GlammClient
from services.cli.client.methods import IDEMPOTENCY_KEY, Operation, Streamed
from services.cli.client.operations import Operations
from services.cli.client.requests import Data, File, Json
from services.gateway.app import create_app
from shared import schema
from shared.priority import Priority
from shared.scopes import Scope
from shared.settings import Settings
from shared.tasks import Ask, Task
from shared.webhooks.events import EventType

HEADERS = {IDEMPOTENCY_KEY, "prefer", "if-none-match", "last-event-id"}
"""Parameters in headers: the first the clients send by themselves, the others are for whoever speaks HTTP himself."""

ID = UUID("01900000-0000-7000-8000-000000000000")
IMAGE = "0" * 64
BOX = (0.0, 0.0, 5.0, 5.0)
ASKS = (
    Ask(Task.GCG, "Tell me more."),
    Ask(Task.REFSEG, expressions=("the dog",)),
    Ask(Task.REGION_CAPTION, "What is this?", (BOX,)),
    Ask(Task.VQA, "What is <box1>?", (BOX,)),
    Ask(Task.GROUND, "A dog.", phrases=("A dog",)),
)
TERMS = {"priority": Priority.BULK, "expires_in": 60.0}
OF_A_BATCH = {"job": schema.GcgAsk(task=Task.GCG), "name": "x", "on_invalid": "skip", **TERMS}


def call(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


JSON_BODIES = {
    "create_job": [call(IMAGE), *(call(IMAGE, ask, **TERMS) for ask in ASKS)],
    "put_job": [call(ID, IMAGE), *(call(ID, IMAGE, ask, **TERMS) for ask in ASKS)],
    "begin_conversation": [call(IMAGE)],
    "take_turn": [call(ID, ASKS[0]), *(call(ID, ask, **TERMS) for ask in ASKS)],
    "create_batch_of": [
        call(schema.BatchRequest.model_validate({**OF_A_BATCH, **where}))
        for where in ({"image_ids": [IMAGE]}, {"s3": {"bucket": "photos"}})
    ],
    "declare_uploads": [call([schema.Upload(sha256=IMAGE, bytes=5, media_type="image/png")])],
    "create_webhook": [call("https://hooks.example/", [EventType.JOB_FAILED], "mine")],
    "change_webhook": [
        call(ID, schema.WebhookChange(enabled=False)),
        call(
            ID,
            schema.WebhookChange(
                url="https://hooks.example/", events=[EventType.JOB_FAILED], description="mine", enabled=True
            ),
        ),
    ],
    "create_key": [call("bob", [Scope.READ], "laptop", datetime(2030, 1, 1, tzinfo=UTC))],
    "set_limits": [call("bob", 5, None, 7)],
}
"""Calls of each method that sends JSON, which together send all that it can."""


def operations() -> dict[str, Operation[..., Any]]:
    found = {}
    for name, member in vars(Operations).items():
        declared = member.operation if isinstance(member, Streamed) else member
        if isinstance(declared, Operation):
            found[name] = declared
    return found


NAMES = sorted(operations())


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(json.dumps(create_app(Settings()).openapi()))


def described(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_modules_of_the_client_name_each_other_in_no_circle() -> None:
    package = "services.cli.client."
    modules = {path.stem: ast.parse(path.read_text()) for path in Path(client.__file__).parent.glob("[!_]*.py")}
    named = {
        name: [
            (statement.module or "").removeprefix(package)
            for statement in ast.walk(tree)
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(package)
        ]
        for name, tree in modules.items()
    }
    assert set(TopologicalSorter(named).static_order()) == set(modules)


def one(document: dict[str, Any], name: str) -> dict[str, Any]:
    operation = operations()[name]
    return described(document)[(operation.method, operation.path)]


def parameters(operation: dict[str, Any], place: str) -> set[str]:
    return {one["name"] for one in operation.get("parameters", ()) if one["in"] == place}


def test_each_operation_is_a_method_and_each_method_an_operation(document) -> None:
    mine = {(operation.method, operation.path) for operation in operations().values()}
    there = set(described(document))
    assert mine == there
    for name in NAMES:
        assert callable(getattr(GlammClient("http://x"), name))
        assert callable(getattr(AsyncGlammClient("http://x"), name))
        assert getattr(GlammClient("http://x"), name).__doc__


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_document(document, name: str) -> None:
    theirs, operation = one(document, name), operations()[name]
    assert set(operation.query) <= parameters(theirs, "query")
    assert parameters(theirs, "header") <= HEADERS
    asked = set(operation.parameters)
    assert parameters(theirs, "path") | set(operation.query) <= asked


def test_each_parameter_of_the_query_can_be_given(document) -> None:
    for where, theirs in described(document).items():
        mine = [one.query for one in operations().values() if (one.method, one.path) == where]
        assert parameters(theirs, "query") == {name for query in mine for name in query}, where


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_read_by_the_model_of_the_document(document, name: str) -> None:
    theirs, operation = one(document, name), operations()[name]
    answers = {status: answer for status, answer in theirs["responses"].items() if status.startswith("2")}
    for status, answer in answers.items():
        content = answer.get("content", {})
        if operation.answer is NoneType:
            assert (status, content) == ("204", {})
        elif operation.answer is bytes:
            assert set(content) <= {"image/png", "application/jsonl", "text/event-stream"}
        else:
            assert issubclass(operation.answer, BaseModel)
            assert content["application/json"]["schema"] == {
                "$ref": f"#/components/schemas/{operation.answer.__name__}"
            }
            assert getattr(schema, operation.answer.__name__) is operation.answer


@pytest.mark.parametrize("name", NAMES)
def test_bodies_are_such_as_the_document_wants(document, name: str, tmp_path: Path) -> None:
    wanted = one(document, name).get("requestBody", {}).get("content", {})
    for body in bodies(name, tmp_path, "application/json" in wanted):
        match body:
            case Json(value):
                validator = Draft202012Validator(
                    {**wanted["application/json"]["schema"], "components": document["components"]}
                )
                assert [fault.message for fault in validator.iter_errors(json.loads(json.dumps(value)))] == []
            case Data(_, kind) | File(_, kind):
                assert kind in wanted
            case None:
                assert not wanted


@pytest.mark.parametrize("name", JSON_BODIES)
def test_each_property_of_a_body_can_be_sent(document, name: str, tmp_path: Path) -> None:
    wanted = one(document, name)["requestBody"]["content"]["application/json"]["schema"]
    sent = {key for body in bodies(name, tmp_path, True) if isinstance(body, Json) for key in body.value}
    assert sent == properties(wanted, document)


def properties(described: dict[str, Any], document: dict[str, Any]) -> set[str]:
    """Those of a schema, or of all that it may be."""
    if "$ref" in described:
        described = document["components"]["schemas"][described["$ref"].rpartition("/")[2]]
    choices = described.get("oneOf", []) + described.get("anyOf", [])
    return set(described.get("properties", {})).union(*(properties(choice, document) for choice in choices))


def bodies(name: str, folder: Path, takes_json: bool) -> Iterator[Json | Data | File | None]:
    """One of each kind that the method sends."""
    operation = operations()[name]
    if name == "upload_image":
        path = folder / "a.webp"
        path.write_bytes(b"RIFF0000WEBP")
        for image in (path, b"\x89PNG", b"\xff\xd8", b"?"):
            yield operation.request(image).body
    elif name == "create_batch":
        yield operation.request(folder / "manifest.jsonl").body
    elif takes_json:
        for args, kwargs in JSON_BODIES[name]:
            yield operation.request(*args, **kwargs).body
    else:
        needed = [one for one in operation.parameters.values() if one.default is one.empty]
        yield operation.request(*["x" for _ in needed[1:]]).body
