"""What is wrong with a field, said in plain words: one case for each kind of fault that a request can have."""

import json
from uuid import UUID

import httpx
import pytest

from services.cli.terminal import problem_line
from services.gateway import findings
from shared.errors import Problem
from shared.tasks import Task

pytestmark = pytest.mark.anyio

UNKNOWN = "0198c0de-0000-7000-8000-000000000000"
IMAGE = "0" * 64
JOB = {"task": "gcg", "image_id": IMAGE}
BOXES = {"task": "region_caption", "image_id": IMAGE}
ONE_BOX = "Send [[x1, y1, x2, y2]] in pixels of the image."
BATCH = {"job": {"task": "gcg"}, "image_ids": [IMAGE]}
KEY = {"owner": "a", "scopes": ["read"]}
A_TIME = "Send a date and time with its zone, such as 2030-01-01T00:00:00Z."
AN_IMAGE = "Send 64 lower-case hex digits, as POST /images gave them."
TASKS = f"Use one of: {', '.join(Task)}."

CASES: dict[str, tuple[str, object, str, str, str]] = {
    # Numbers and their bounds.
    "limit=0": ("GET /jobs?limit=0", None, "limit", "limit is below 1.", "Send 1 or more."),
    "limit=201": ("GET /jobs?limit=201", None, "limit", "limit is above 200.", "Send 200 or less."),
    "limit=x": ("GET /jobs?limit=x", None, "limit", "limit is no whole number.", "Send a whole number."),
    "wait=-1": (f"GET /jobs/{UNKNOWN}?wait=-1", None, "wait", "wait is below 0.", "Send 0 or more."),
    "wait=soon": (f"GET /jobs/{UNKNOWN}?wait=soon", None, "wait", "wait is no number.", "Send a number."),
    "wait=nan": (f"GET /jobs/{UNKNOWN}?wait=nan", None, "wait", "wait is no finite number.", "Send a finite number."),
    "mask -1": (f"GET /jobs/{UNKNOWN}/masks/-1.png", None, "n", "n is below 0.", "Send 0 or more."),
    "no seconds": (
        "POST /jobs",
        {**JOB, "expires_in": 0},
        "expires_in",
        "expires_in is not above 0.",
        "Send a number above 0.",
    ),
    "half a request": (
        "PUT /owners/a/limits",
        {"requests_per_minute": 1.5},
        "requests_per_minute",
        "requests_per_minute is no whole number.",
        "Send a whole number.",
    ),
    "more jobs than are counted": (
        "PUT /owners/a/limits",
        {"queued_jobs": 2**40},
        "queued_jobs",
        "queued_jobs is above 2,147,483,647.",
        "Send 2,147,483,647 or less.",
    ),
    # One of several.
    "unknown state": (
        "GET /jobs?state=done",
        None,
        "state[0]",
        "state[0] is none of what there is.",
        "Use 'queued', 'vision', 'llm', 'pixel', 'succeeded', 'failed' or 'canceled'.",
    ),
    "unknown policy": (
        "POST /batches?on_invalid=x",
        None,
        "on_invalid",
        "on_invalid is none of what there is.",
        "Use 'reject' or 'skip'.",
    ),
    "unknown task": ("POST /jobs", {"task": "paint"}, "task", "There is no task 'paint'.", TASKS),
    "task that is null": ("POST /jobs", {"task": None}, "task", "The task is missing.", TASKS),
    "task called None": ("POST /jobs", {"task": "None"}, "task", "There is no task 'None'.", TASKS),
    "task that is a number": ("POST /jobs", {"task": 7}, "task", "There is no task '7'.", TASKS),
    "no task": ("POST /jobs", {}, "task", "The task is missing.", TASKS),
    # Ids.
    "job's id": (
        "GET /jobs/nonsense",
        None,
        "job_id",
        "job_id is no UUID.",
        f"Send a UUID, as POST /jobs gives them, such as {UNKNOWN}.",
    ),
    "batch's id": (
        "GET /batches/nonsense",
        None,
        "batch_id",
        "batch_id is no UUID.",
        f"Send a UUID, as POST /batches gives them, such as {UNKNOWN}.",
    ),
    "image's id": ("GET /images/cat.png", None, "image_id", "image_id is no id of an image.", AN_IMAGE),
    "image's id in a job": (
        "POST /jobs",
        {**JOB, "image_id": "cat.png"},
        "image_id",
        "image_id is no id of an image.",
        AN_IMAGE,
    ),
    "image's id that is a number": (
        "POST /jobs",
        {**JOB, "image_id": 7},
        "image_id",
        "image_id is no string.",
        AN_IMAGE,
    ),
    # Texts.
    "sha256": (
        "POST /images/uploads",
        {"images": [{"sha256": "A" * 64, "bytes": 1, "media_type": "image/png"}]},
        "images[0].sha256",
        "images[0].sha256 is no sha256 in hex.",
        "Send the 64 lower-case hex digits of the image's sha256.",
    ),
    "bucket": (
        "POST /batches",
        {"job": {"task": "gcg"}, "s3": {"bucket": "My/Photos"}},
        "s3.bucket",
        "s3.bucket is no name of a bucket.",
        "Send the name alone, of lower-case letters, digits, hyphens and dots.",
    ),
    "owner with a slash": (
        "POST /keys",
        {**KEY, "owner": "a/b"},
        "owner",
        "owner has a slash or a null character in it.",
        "Send a name without them.",
    ),
    "no owner": (
        "POST /keys",
        {**KEY, "owner": ""},
        "owner",
        "owner has fewer characters than 1.",
        "Send 1 or more.",
    ),
    "long name": (
        "POST /keys",
        {**KEY, "name": "n" * 201},
        "name",
        "name has more characters than 200.",
        "Send at most 200.",
    ),
    "null character": (
        "POST /keys",
        {**KEY, "name": "a\0b"},
        "name",
        "name has a null character in it.",
        "Leave null characters out.",
    ),
    "prompt that is a number": ("POST /jobs", {**JOB, "prompt": 7}, "prompt", "prompt is no string.", "Send a string."),
    "cursor of a novel": (
        f"GET /jobs?cursor={'a' * 201}",
        None,
        "cursor",
        "cursor has more characters than 200.",
        "Send what the page before gave as `next`.",
    ),
    "time without a zone": (
        "POST /keys",
        {**KEY, "expires_at": "2030-01-01T00:00:00"},
        "expires_at",
        "expires_at has no time zone.",
        A_TIME,
    ),
    "time in words": ("POST /keys", {**KEY, "expires_at": "soon"}, "expires_at", "expires_at is no time.", A_TIME),
    # JSON types and lists.
    "no JSON": (
        "POST /jobs",
        b"{",
        "body",
        "The body cannot be read as JSON: EOF while parsing an object at line 1 column 1.",
        "Send well-formed JSON in UTF-8.",
    ),
    "a list for an object": (
        "POST /jobs",
        [],
        "body",
        "The body is no JSON object.",
        "Send an object: fields and their values in braces.",
    ),
    "a number for an object": (
        "POST /batches",
        {"job": {"task": "gcg"}, "s3": 7},
        "s3",
        "s3 is no JSON object.",
        "Send an object: fields and their values in braces.",
    ),
    "a number for a list": (
        "POST /keys",
        {**KEY, "scopes": 7},
        "scopes",
        "scopes is no list.",
        "Send a list.",
    ),
    "an empty list": (
        "POST /keys",
        {**KEY, "scopes": []},
        "scopes",
        "scopes has fewer values than 1.",
        "Send 1 or more.",
    ),
    "a long list": (
        "POST /keys",
        {**KEY, "scopes": ["read"] * 4},
        "scopes",
        "scopes has more values than 3.",
        "Send at most 3.",
    ),
    "neither true nor false": (
        f"PATCH /webhooks/{UNKNOWN}",
        {"enabled": "maybe"},
        "enabled",
        "enabled is neither true nor false.",
        "Send true or false.",
    ),
    "boxes that are none": ("POST /jobs", {**BOXES, "boxes": 7}, "boxes", "boxes is no list.", ONE_BOX),
    "a box of three": (
        "POST /jobs",
        {**BOXES, "boxes": [[1, 2, 3]]},
        "boxes[0][3]",
        "boxes[0][3] is missing.",
        ONE_BOX,
    ),
    "a box of words": (
        "POST /jobs",
        {**BOXES, "boxes": [["a", 2, 3, 4]]},
        "boxes[0][0]",
        "boxes[0][0] is no number.",
        ONE_BOX,
    ),
    # What is there and what is not.
    "no boxes": ("POST /jobs", BOXES, "boxes", "boxes is missing.", "Send this field."),
    "no format": (f"GET /batches/{UNKNOWN}/export", None, "format", "format is missing.", "Send this field."),
    "misspelt": (
        "POST /jobs",
        {**JOB, "promt": "a dog"},
        "promt",
        "There is no field promt here.",
        "Leave it out, or correct its name.",
    ),
    "misspelt inside": (
        "POST /batches",
        {**BATCH, "job": {"task": "gcg", "promt": "a dog"}},
        "job.promt",
        "There is no field job.promt here.",
        "Leave it out, or correct its name.",
    ),
    "called like a box": (
        "POST /jobs",
        {**JOB, "boxes[0]": 1},
        "boxes[0]",
        "There is no field boxes[0] here.",
        "Leave it out, or correct its name.",
    ),
    "no images": (
        "POST /batches",
        {"job": {"task": "gcg"}},
        "body",
        "The body names both or neither of image_ids and s3.",
        "Send exactly one of the two.",
    ),
    "two faults": (
        "POST /jobs",
        {**JOB, "prompt": 7, "priority": "now"},
        "priority",
        "priority is none of what there is. Also at fault: prompt.",
        "Use 'interactive' or 'bulk'.",
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_fault_is_said_in_plain_words(api: httpx.AsyncClient, name: str) -> None:
    request, body, field, detail, remedy = CASES[name]
    method, path = request.split()
    content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    answer = await api.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
    problem = Problem.from_json(answer.json())
    assert (problem.field, problem.detail, problem.remedy) == (field, detail, remedy)
    assert problem_line(problem) in (f"{detail} {remedy}", f"{field}: {detail} {remedy}")


async def test_what_is_said_of_a_text_that_does_not_fit_is_true_of_every_field(app) -> None:
    """A field whose text has a form of its own is known by name; all others forbid the null character alone."""
    keywords = {"anyOf", "items", "oneOf", "allOf"}
    forms = {"^[^\\x00]*$", "^[^\\x00]+$"}

    def own_forms(name: str, part: object) -> set[str]:
        if isinstance(part, list):
            return {found for one in part for found in own_forms(name, one)}
        if not isinstance(part, dict):
            return set()
        inside = {
            found
            for key, value in part.items()
            for found in own_forms(
                part.get("name", name) if key == "schema" else name if key in keywords else key, value
            )
        }
        return inside | ({name} if isinstance(part.get("pattern"), str) and part["pattern"] not in forms else set())

    assert own_forms("", app.openapi()) == set(findings.FORMS)


LINES = {
    "no JSON": (
        "{",
        "line",
        "The line cannot be read as JSON: EOF while parsing an object at line 1 column 1.",
        "Send well-formed JSON in UTF-8.",
    ),
    "no image": (
        '{"task": "gcg"}',
        "line",
        "The line names both or neither of image_id and s3_uri.",
        "Send exactly one of the two.",
    ),
    "URI": (
        '{"task": "gcg", "s3_uri": "http://a"}',
        "s3_uri",
        "s3_uri is no URI of an object.",
        "Send s3://BUCKET/KEY.",
    ),
    "long name": (
        json.dumps({"task": "gcg", "image_id": IMAGE, "custom_id": "é" * 600}, ensure_ascii=False),
        "custom_id",
        "custom_id has more bytes than 1,024 in UTF-8.",
        "Send at most 1,024.",
    ),
}


@pytest.mark.parametrize("name", LINES)
async def test_a_fault_of_a_line_too(api: httpx.AsyncClient, name: str) -> None:
    line, field, detail, remedy = LINES[name]
    answer = await api.post("/batches", content=line.encode(), headers={"Content-Type": "application/jsonl"})
    assert answer.status_code == 422
    assert answer.json()["lines"] == [{"line": 1, "field": field, "detail": detail, "remedy": remedy}]


THINGS = {
    f"GET /jobs/{UNKNOWN}": ("job_id", f"There is no job {UNKNOWN}."),
    f"GET /jobs/{UNKNOWN}/events": ("job_id", f"There is no job {UNKNOWN}."),
    f"POST /jobs/{UNKNOWN}/cancel": ("job_id", f"There is no job {UNKNOWN}."),
    f"GET /images/{IMAGE}": ("image_id", f"There is no image {IMAGE}."),
    f"DELETE /images/{IMAGE}": ("image_id", f"There is no image {IMAGE}."),
    f"GET /batches/{UNKNOWN}": ("batch_id", f"There is no batch {UNKNOWN}."),
    f"GET /batches/{UNKNOWN}/jobs": ("batch_id", f"There is no batch {UNKNOWN}."),
    f"GET /batches/{UNKNOWN}/results.jsonl": ("batch_id", f"There is no batch {UNKNOWN}."),
    f"GET /batches/{UNKNOWN}/export?format=coco": ("batch_id", f"There is no batch {UNKNOWN}."),
    f"POST /batches/{UNKNOWN}/cancel": ("batch_id", f"There is no batch {UNKNOWN}."),
    f"GET /conversations/{UNKNOWN}": ("conversation_id", f"There is no conversation {UNKNOWN}."),
    f"GET /conversations/{UNKNOWN}/turns": ("conversation_id", f"There is no conversation {UNKNOWN}."),
    f"GET /webhooks/{UNKNOWN}": ("webhook_id", f"There is no webhook {UNKNOWN}."),
    f"DELETE /webhooks/{UNKNOWN}": ("webhook_id", f"There is no webhook {UNKNOWN}."),
    f"DELETE /keys/{UNKNOWN}": ("key_id", f"There is no key {UNKNOWN}."),
    "PUT /owners/nobody/limits": ("name", "There is no owner nobody."),
}


@pytest.mark.parametrize("request_line", THINGS)
async def test_what_there_is_not_is_named_with_a_way_to_find_one(api: httpx.AsyncClient, request_line: str) -> None:
    method, path = request_line.split()
    answer = await api.request(method, path, json={} if method == "PUT" else None)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (404, "urn:glamm:problem:not-found")
    assert (problem["field"], problem["detail"]) == THINGS[request_line]
    assert problem["remedy"]


async def test_a_mask_that_there_is_not_is_named_with_those_that_there_are(api, backstage, png, result) -> None:
    files = {"image": ("a.png", png, "image/png")}
    job_id = (await api.post("/jobs", files=files, data={"task": "gcg"})).json()["id"]
    backstage.succeed(UUID(job_id), result)
    answer = await api.get(f"/jobs/{job_id}/masks/2.png")
    assert answer.status_code == 404
    problem = answer.json()
    assert (problem["field"], problem["remedy"]) == ("n", "Its masks are numbered from 0 to 1.")
