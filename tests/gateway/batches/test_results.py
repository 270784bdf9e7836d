"""What is read back of a batch, while it runs and after: its jobs, its results and its errors."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.gateway import examples
from shared import batches
from shared.batches import results
from shared.errors import Expired, FeaturesLost, InvalidInput
from shared.jobs import Answer, Result, Stage
from shared.settings import Settings
from tests.gateway.batches.conftest import lines_of, manifest, store, submit, work_off
from tests.gateway.conftest import Backstage

pytestmark = pytest.mark.anyio


async def test_a_manifest_becomes_jobs_and_then_results(
    api: httpx.AsyncClient, backstage: Backstage, result: Result
) -> None:
    image = await store(api)
    asked = [
        {"custom_id": "a", "image_id": image, "task": "gcg"},
        {"custom_id": "b", "image_id": image, "task": "vqa", "question": "What is this?", "boxes": [[0, 0, 48, 32]]},
        {"image_id": image, "task": "ground", "caption": "A red ball lies on grass."},
    ]
    created = await submit(api, manifest(asked), name="three", expires_in="3600")
    assert created.status_code == 201, created.text
    batch = created.json()
    url = created.headers["Location"]
    assert (batch["name"], batch["state"], batch["priority"], batch["jobs"]) == ("three", "running", "bulk", 3)
    assert batch["counts"]["queued"] == 3
    assert batch["links"]["self"] == url

    listed = (await api.get(f"{url}/jobs")).json()
    assert [(job["line"], job["custom_id"], job["task"]) for job in listed["jobs"]] == [
        (1, "a", "gcg"),
        (2, "b", "vqa"),
        (3, None, "ground"),
    ]
    first, second, third = (UUID(job["id"]) for job in listed["jobs"])
    job = (await api.get(f"/jobs/{second}")).json()
    assert (job["custom_id"], job["links"]["batch"], job["queue_position"]) == ("b", url, 2)

    backstage.succeed(first, result)
    backstage.succeed(second, result)
    batch = (await api.get(url)).json()
    assert (batch["progress"], batch["counts"]["succeeded"]) == (2 / 3, 2)
    lines = lines_of(await api.get(f"{url}/results.jsonl"))
    assert [line["custom_id"] for line in lines] == ["a", "b"]
    for line in lines:
        job = (await api.get(f"/jobs/{line['id']}")).json()
        assert line["image"] == job["image"]
        # What was left out of the request, its job shows as null or empty.
        assert line["request"].items() <= job["request"].items()
        for of_job in (job["result"], *job["result"]["phrases"]):
            of_job.pop("overlay_url", None)
            of_job.pop("mask_url", None)
        assert line["result"] == job["result"]

    backstage.cancel(third)
    work_off(backstage)
    batch = (await api.get(url)).json()
    assert (batch["state"], batch["progress"], batch["eta_seconds"]) == ("finished", 1.0, None)
    (line,) = lines_of(await api.get(f"{url}/errors.jsonl"))
    assert (line["line"], line["state"], line["error"]) == (3, "canceled", None)


async def test_pages_lead_from_one_to_the_next(api: httpx.AsyncClient, backstage: Backstage) -> None:
    image = await store(api)
    made = []
    for _ in range(5):
        made.append((await api.post("/batches", json={"image_ids": [image], "job": {"task": "gcg"}})).json()["id"])
    found, cursor = [], None
    while True:
        page = (await api.get("/batches", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        found += [batch["id"] for batch in page["batches"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == made[::-1]

    batch = (await submit(api, manifest([{"image_id": image, "task": "gcg"}]) * 5)).json()
    pages = [page async for page in pages_of(api, batch["links"]["jobs"], {"limit": 2})]
    assert [[job["line"] for job in page] for page in pages] == [[1, 2], [3, 4], [5]]
    backstage.cancel(UUID(pages[0][1]["id"]))
    pages = [page async for page in pages_of(api, batch["links"]["jobs"], {"state": ["queued", "failed"]})]
    assert [[job["line"] for job in page] for page in pages] == [[1, 3, 4, 5]]
    for url, parameters in (
        ("/batches", {"cursor": "é"}),
        ("/batches", {"cursor": "MQ"}),
        (batch["links"]["jobs"], {"cursor": "LTE"}),
        (batch["links"]["jobs"], {"cursor": "?"}),
        (batch["links"]["jobs"], {"limit": 0}),
        (batch["links"]["jobs"], {"state": "done"}),
    ):
        refused = await api.get(url, params=parameters)
        assert refused.status_code == 422, (url, parameters)
        assert refused.json()["field"].split("[")[0] in parameters


async def pages_of(api: httpx.AsyncClient, url: str, parameters: dict[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
    cursor = None
    while True:
        page = (await api.get(url, params=parameters | ({"cursor": cursor} if cursor else {}))).json()
        yield page["jobs"]
        cursor = page["next"]
        if cursor is None:
            return


async def test_a_batchs_jobs_are_found_by_state_task_name_and_what_they_failed_with(
    api: httpx.AsyncClient, backstage: Backstage
) -> None:
    image = await store(api)
    tasks = ("gcg", "caption", "gcg", "caption", "gcg")
    asked = [{"custom_id": f"job {n}", "image_id": image, "task": task} for n, task in enumerate(tasks, 1)]
    url = (await submit(api, manifest(asked))).headers["Location"]
    ids = [UUID(job["id"]) for job in (await api.get(f"{url}/jobs")).json()["jobs"]]
    for line, error in ((1, Expired()), (2, Expired()), (5, Expired()), (4, FeaturesLost("grounding"))):
        backstage.fail(backstage.start(ids[line - 1], Stage.VISION), error.to_problem())

    async def lines(**query: Any) -> list[int]:
        answer = await api.get(f"{url}/jobs", params=query)
        assert answer.status_code == 200, answer.text
        return [job["line"] for job in answer.json()["jobs"]]

    expired = Expired().to_problem().type
    assert await lines(task="caption") == [2, 4]
    assert await lines(custom_id="job 3") == [3]
    assert await lines(custom_id="job") == []
    assert await lines(error_type=expired) == [1, 2, 5]
    assert await lines(error_type=expired, task="caption") == [2]
    assert await lines(error_type=expired, state="queued") == []
    assert await lines(error_type="urn:glamm:problem:nothing") == []
    assert await lines(state=["queued", "failed"], task="gcg", custom_id="job 5") == [5]
    cursor = (await api.get(f"{url}/jobs", params={"error_type": expired, "limit": 2})).json()["next"]
    assert await lines(error_type=expired, cursor=cursor) == [5]
    problems = (await api.get(url)).json()["problems"]
    found = [[job["line"] for job in (await api.get(problem["url"])).json()["jobs"]] for problem in problems]
    assert found == [[1, 2, 5], [4]]
    for query in ({"task": "paint"}, {"custom_id": ""}, {"custom_id": "a\0b"}, {"error_type": "a\0b"}):
        refused = await api.get(f"{url}/jobs", params=query)
        assert (refused.status_code, refused.json()["field"]) == (422, *query)


async def test_results_and_errors_are_read_page_by_page(
    api: httpx.AsyncClient, backstage: Backstage, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_PAGE", 2)
    image = await store(api)
    lines = [{"image_id": image, "task": "gcg", "custom_id": f'line "{n}" \\ ☃'} for n in range(12)]
    lines[3] = lines[7] = lines[8] = {"image_id": image, "task": "none"}
    url = (await submit(api, manifest(lines), on_invalid="skip")).headers["Location"]
    ids = {job["line"]: UUID(job["id"]) for job in (await api.get(f"{url}/jobs")).json()["jobs"]}
    assert (await api.get(f"{url}/results.jsonl")).content == b""
    for line in (1, 3, 5, 6, 10):
        backstage.succeed(ids[line], result)
    backstage.fail(
        backstage.start(ids[7], Stage.VISION), InvalidInput("image", "It is blue.", "Paint it.").to_problem()
    )
    backstage.cancel(ids[11])
    found = lines_of(await api.get(f"{url}/results.jsonl"))
    assert [line["line"] for line in found] == [1, 3, 5, 6, 10]
    assert [line["custom_id"] for line in found] == [lines[line["line"] - 1]["custom_id"] for line in found]
    examples_are_like(found, examples.RESULT_LINES)
    found = lines_of(await api.get(f"{url}/errors.jsonl"))
    examples_are_like(found, examples.ERROR_LINES)
    assert [(line["line"], line["state"]) for line in found] == [
        (4, "invalid"),
        (8, "invalid"),
        (9, "invalid"),
        (7, "failed"),
        (11, "canceled"),
    ]


def examples_are_like(found: list[dict[str, Any]], documented: str) -> None:
    """The example of each state has the fields that a line of it has, to the last."""

    def fields(value: Any) -> Any:
        if isinstance(value, list):
            return [fields(value[0])] if value else []
        return (
            {name: fields(part) for name, part in value.items() if name != "request"} if isinstance(value, dict) else 0
        )

    by_state = {line["state"]: fields(line) for line in found}
    assert {line["state"]: fields(line) for line in map(json.loads, documented.splitlines())} == by_state


async def test_results_come_page_after_page(api: httpx.AsyncClient, backstage: Backstage) -> None:
    """More wrong lines than a page holds."""
    image = await store(api)
    body = manifest([{"image_id": image, "task": "gcg"}]) + b"{}\n" * 2500
    batch = (await submit(api, body, on_invalid="skip")).json()
    lines = lines_of(await api.get(batch["links"]["errors"]))
    assert [line["line"] for line in lines] == list(range(2, 2502))


async def test_a_page_grows_no_longer_by_what_finishes_before_it_is_read(
    api: httpx.AsyncClient, backstage: Backstage, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_PAGE", 2)
    image = await store(api)
    batch = (await submit(api, manifest([{"image_id": image, "task": "gcg"}] * 5))).json()
    ids = [UUID(job["id"]) for job in (await api.get(f"{batch['links']['self']}/jobs")).json()["jobs"]]
    for job_id in (ids[0], ids[4]):
        backstage.succeed(job_id, result)
    with backstage.engine.connect() as connection:
        (page,) = batches.result_pages(connection, UUID(batch["id"]))
        connection.rollback()
        backstage.succeed(ids[2], result)
        found = batches.page_lines(connection, UUID(batch["id"]), page).splitlines()
    assert [json.loads(line)["line"] for line in found] == [1, 5]


async def test_a_result_line_says_what_each_kind_of_job_has(
    api: httpx.AsyncClient, backstage: Backstage, result: Result, settings: Settings
) -> None:
    image, (bucket,) = await store(api), settings.import_buckets
    (answer,) = result.answers
    unnamed = replace(answer, phrases=(replace(answer.phrases[0], text=None, span=None), answer.phrases[1]))
    nothing = Answer("There is no ☃ here.", "There is no ☃ here.", ())
    several = Result((unnamed, nothing, answer), "weights-1")
    key = 'a "quoted" \\ name/☃ 1.png'
    asked = [
        {"image_id": image, "task": "refseg", "expressions": ['the "red" one', "the ☃", "back\\slash"]},
        {"image_id": image, "task": "region_caption", "boxes": [[0, 0, 20, 10], [1.5, 2, 30, 31], [4, 4, 8, 8]]},
        {"s3_uri": f"s3://{bucket}/{key}", "task": "gcg"},
    ]
    url = (await submit(api, manifest(asked))).headers["Location"]
    ids = [UUID(job["id"]) for job in (await api.get(f"{url}/jobs")).json()["jobs"]]
    for job_id in ids[:2]:
        backstage.succeed(job_id, several)
    backstage.cancel(ids[2])
    referred, described = lines_of(await api.get(f"{url}/results.jsonl"))
    for line in (referred, described):
        job = (await api.get(f"/jobs/{line['id']}")).json()
        for of_job in (job["result"], *job["result"]["phrases"]):
            of_job.pop("overlay_url", None)
            of_job.pop("mask_url", None)
        assert line["result"] == job["result"]
    assert [answer["expression"] for answer in referred["result"]["answers"]] == asked[0]["expressions"]
    assert [answer["box"] for answer in described["result"]["answers"]] == asked[1]["boxes"]
    assert [answer["phrases"] for answer in referred["result"]["answers"]] == [[0, 1], [], [2, 3]]
    assert [phrase["text"] for phrase in referred["result"]["phrases"]][:2] == [None, "grass"]
    (canceled,) = lines_of(await api.get(f"{url}/errors.jsonl"))
    assert (canceled["source"], canceled["image_id"]) == (f"s3://{bucket}/{key}", None)
