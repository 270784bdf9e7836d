"""Batches over HTTP: from a manifest to its results."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import func, select

from services.gateway.app import create_app
from services.gateway.manifest.lines import MAX_LINE_BYTES
from shared import batches, jobs
from shared.batches import results
from shared.errors import Expired, FeaturesLost, InvalidInput
from shared.jobs import Result, Stage
from shared.settings import Settings
from shared.tables import LOCAL_OWNER, batch_errors, webhook_deliveries
from shared.tables import batches as batch_table
from shared.webhooks import endpoints
from shared.webhooks.events import EventType
from tests.gateway.conftest import Backstage, encode, picture

JSONL = {"Content-Type": "application/jsonl"}

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"import_buckets": (f"photos-{uuid4().hex}",), "max_batch_jobs": 5000})


async def store(api: httpx.AsyncClient, seed: int = 0) -> str:
    stored = await api.post("/images", content=encode(picture(seed=seed)), headers={"Content-Type": "image/png"})
    return str(stored.json()["id"])


def manifest(lines: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def submit(api: httpx.AsyncClient, body: bytes, **options: str) -> httpx.Response:
    return await api.post("/batches", content=body, headers=JSONL, params=options)


def nothing_stored(backstage: Backstage) -> bool:
    with backstage.engine.connect() as connection:
        counted = (select(func.count()).select_from(table) for table in (batch_table, batch_errors))
        return backstage.contents().jobs == 0 and not any(connection.execute(each).scalar_one() for each in counted)


def work_off(backstage: Backstage) -> None:
    """What the scheduler does of its own accord."""
    more = True
    while more:
        with backstage.engine.begin() as connection:
            more = batches.work_off(connection)


def lines_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/jsonl")
    return [json.loads(line) for line in response.text.splitlines()]


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
    assert (batch["progress"], batch["counts"]["succeeded"], batch["rate"]) == (2 / 3, 2, pytest.approx(2 / 60))
    assert batch["eta_seconds"] == pytest.approx(30)
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


async def test_wrong_lines_keep_everything_out_and_are_told_by_number_and_field(
    api: httpx.AsyncClient, backstage: Backstage
) -> None:
    image = await store(api)
    good = {"image_id": image, "task": "gcg"}
    body = (
        manifest([{**good, "custom_id": "x"}, {**good, "prompt": ""}])
        + b'{"task": "gcg"\n\n'
        + manifest(
            [
                {**good, "image_id": "0" * 64},
                {**good, "custom_id": "x"},
                {"image_id": image, "task": "region_caption", "boxes": [[0, 0, 49, 32]]},
                {**good, "s3_uri": "s3://photos/a.png"},
                {"s3_uri": "s3://secret/a.png", "task": "gcg"},
                {"image_id": image, "task": "dance"},
            ]
        )
    )
    refused = await submit(api, body)
    assert refused.status_code == 422, refused.text
    problem = refused.json()
    assert problem["field"] == "line 2: prompt"
    assert "on_invalid=skip" in problem["remedy"]
    # Lines that cannot be read at all are told of first; the database looks at the others only when there are none.
    assert [(line["line"], line["field"]) for line in problem["lines"]] == [
        (2, "prompt"),
        (3, "body"),
        (5, "image_id"),
        (6, "custom_id"),
        (7, "boxes"),
        (8, "body"),
        (9, "s3_uri"),
        (10, "task"),
    ]
    assert nothing_stored(backstage)

    accepted = await submit(api, body, on_invalid="skip")
    assert accepted.status_code == 201, accepted.text
    batch = accepted.json()
    assert (batch["jobs"], batch["invalid_lines"]) == (1, 8)
    lines = lines_of(await api.get(batch["links"]["errors"]))
    assert [(line["line"], line["state"]) for line in lines] == [(line["line"], "invalid") for line in problem["lines"]]
    assert lines[3]["custom_id"] == "x"


async def test_terms_are_the_batchs_and_not_its_jobs(api: httpx.AsyncClient, backstage: Backstage) -> None:
    """Left aside in silence they would change what is asked for."""
    image = await store(api)
    for terms in ({"priority": "interactive"}, {"expires_in": 5}):
        (name,) = terms
        of_line = await submit(api, manifest([{"image_id": image, "task": "gcg", **terms}]))
        assert (of_line.status_code, of_line.json()["field"]) == (422, f"line 1: {name}")
        of_job = await api.post("/batches", json={"image_ids": [image], "job": {"task": "gcg", **terms}})
        assert (of_job.status_code, of_job.json()["field"]) == (422, f"job.{name}")
    assert nothing_stored(backstage)


async def test_what_a_field_may_hold_comes_back_as_it_was(api: httpx.AsyncClient) -> None:
    image = await store(api)
    names = ["a\rb", 'quo"ted', "c,o\tm\nma", "\\N", "ü" * 512, " "]
    created = await submit(api, manifest([{"custom_id": name, "image_id": image, "task": "gcg"} for name in names]))
    assert created.status_code == 201, created.text
    listed = (await api.get(created.json()["links"]["jobs"])).json()["jobs"]
    assert [job["custom_id"] for job in listed] == names


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"custom_id": "ü" * 513}, "custom_id"),
        ({"image_id": None, "s3_uri": "s3://photos/" + "ü" * 513, "task": "gcg"}, "s3_uri"),
        ({"a\0b": 1}, "a\N{REPLACEMENT CHARACTER}b"),
        ({"task": "refseg", "expressions": [1] * 100_000}, "expressions[0]"),
        ({"x" * 100_000: 1}, "x" * 200),
    ],
)
async def test_a_line_is_told_of_in_few_words_whatever_it_holds(
    api: httpx.AsyncClient, line: dict[str, Any], field: str
) -> None:
    image = await store(api)
    good = {"image_id": image, "task": "gcg"}
    wrong = {name: value for name, value in (good | line).items() if value is not None}
    batch = (await submit(api, manifest([good, wrong]), on_invalid="skip")).json()
    assert (batch["jobs"], batch["invalid_lines"]) == (1, 1)
    (told,) = lines_of(await api.get(batch["links"]["errors"]))
    assert told["error"]["field"] == field
    assert len(told["error"]["detail"]) < 1000


async def test_of_many_wrong_lines_a_hundred_are_told(api: httpx.AsyncClient, backstage: Backstage) -> None:
    for wrong in ({"image_id": "0" * 64, "task": "gcg"}, {"task": "gcg"}):
        refused = (await submit(api, manifest([wrong]) * 300)).json()
        assert [line["line"] for line in refused["lines"]] == list(range(1, 101))
        assert "at least 99 more" in refused["detail"]
    assert nothing_stored(backstage)


async def test_what_a_finished_batch_counts_is_kept(api: httpx.AsyncClient, backstage: Backstage) -> None:
    created = await submit(api, manifest([{"image_id": await store(api), "task": "gcg"}]) * 2)
    url = created.headers["Location"]
    await api.post(f"{url}/cancel")
    work_off(backstage)
    with backstage.engine.connect() as connection:
        assert connection.execute(select(batch_table.c.counts)).scalar_one() == {"canceled": 2}
    assert (await api.get(url)).json()["counts"]["canceled"] == 2


async def test_a_manifest_of_nothing_is_refused(api: httpx.AsyncClient, backstage: Backstage) -> None:
    for body, options in ((b"", {}), (b"\n\n", {}), (b"{}\n", {"on_invalid": "skip"})):
        refused = await submit(api, body, **options)
        assert (refused.status_code, refused.json()["field"]) == (422, "body"), refused.text
    assert nothing_stored(backstage)


async def test_an_endless_line_takes_no_memory_and_is_reported(api: httpx.AsyncClient, backstage: Backstage) -> None:
    image = await store(api)
    good = manifest([{"image_id": image, "task": "gcg"}])

    async def body() -> AsyncIterator[bytes]:
        yield good
        for _ in range(64):
            yield b"x" * MAX_LINE_BYTES
        yield b"\n" + good

    refused = await api.post("/batches", content=body(), headers=JSONL)
    assert (refused.status_code, refused.json()["field"]) == (422, "line 2"), refused.text
    assert nothing_stored(backstage)
    accepted = await api.post("/batches", content=body(), headers=JSONL, params={"on_invalid": "skip"})
    assert (accepted.json()["jobs"], accepted.json()["invalid_lines"]) == (2, 1)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
async def test_other_encodings_are_told(api: httpx.AsyncClient, backstage: Backstage, encoding: str) -> None:
    refused = await submit(api, '{"task": "gcg"}\n'.encode(encoding), on_invalid="skip")
    assert (refused.status_code, refused.json()["field"]) == (422, "line 1"), refused.text
    assert refused.json()["remedy"] == "Send it in UTF-8."
    assert nothing_stored(backstage)


async def test_a_mark_of_utf_8_does_no_harm(api: httpx.AsyncClient) -> None:
    body = b"\xef\xbb\xbf" + manifest([{"image_id": await store(api), "task": "gcg"}]).rstrip(b"\n")
    assert (await submit(api, body)).status_code == 201


async def test_one_job_on_many_images(api: httpx.AsyncClient) -> None:
    images = [await store(api, seed) for seed in range(3)]
    asked = {"image_ids": [*images, images[0]], "job": {"task": "gcg"}, "priority": "interactive"}
    created = await api.post("/batches", json=asked)
    assert created.status_code == 201, created.text
    assert (created.json()["jobs"], created.json()["priority"]) == (3, "interactive")
    listed = (await api.get(created.json()["links"]["jobs"])).json()["jobs"]
    assert [(job["custom_id"], job["image_id"]) for job in listed] == [(image, image) for image in images]


async def test_a_bucket_that_is_missing_is_told_of_with_what_the_operator_can_do(
    api: httpx.AsyncClient, backstage: Backstage, settings: Settings
) -> None:
    """Whether it was never there or has vanished."""
    (bucket,) = settings.import_buckets
    photos = backstage.objects.of(bucket)
    asked = {"s3": {"bucket": bucket, "prefix": ""}, "job": {"task": "gcg"}}

    async def refused() -> None:
        answer = await api.post("/batches", json=asked)
        assert (answer.status_code, answer.json()["field"]) == (422, "s3.bucket"), answer.text
        assert bucket in answer.json()["detail"]
        assert "GLAMM_IMPORT_BUCKETS" in answer.json()["remedy"]

    await refused()
    photos.ensure_bucket()
    photos.put("a.png", b"anything", "image/png")
    assert (await api.post("/batches", json=asked)).status_code == 201
    photos.delete("a.png")
    photos._client.remove_bucket(bucket)
    await refused()


async def test_a_prefix_of_a_bucket_becomes_a_job_a_picture(
    api: httpx.AsyncClient, backstage: Backstage, settings: Settings
) -> None:
    (bucket,) = settings.import_buckets
    photos = backstage.objects.of(bucket)
    photos.ensure_bucket()
    for key in ("june/a.png", "june/b.JPG", "june/notes.txt", "july/c.png"):
        photos.put(key, b"anything", "image/png")
    created = await api.post("/batches", json={"s3": {"bucket": bucket, "prefix": "june/"}, "job": {"task": "gcg"}})
    assert created.status_code == 201, created.text
    listed = (await api.get(created.json()["links"]["jobs"])).json()["jobs"]
    assert [(job["custom_id"], job["source"], job["image_id"]) for job in listed] == [
        ("june/a.png", f"s3://{bucket}/june/a.png", None),
        ("june/b.JPG", f"s3://{bucket}/june/b.JPG", None),
    ]
    job = (await api.get(listed[0]["url"])).json()
    assert (job["image"], job["source"], job["links"]["image"]) == (None, f"s3://{bucket}/june/a.png", None)
    for wrong, field in (
        ({"bucket": "glamm", "prefix": ""}, "s3.bucket"),
        ({"bucket": bucket, "prefix": "may/"}, "body"),
    ):
        refused = await api.post("/batches", json={"s3": wrong, "job": {"task": "gcg"}})
        assert (refused.status_code, refused.json()["field"]) == (422, field), refused.text


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"job": {"task": "gcg"}}, "body"),
        ({"job": {"task": "gcg"}, "image_ids": []}, "image_ids"),
        ({"job": {"task": "gcg"}, "image_ids": ["x"]}, "image_ids[0]"),
        ({"job": {"task": "refseg", "expressions": []}, "image_ids": ["0" * 64]}, "expressions"),
        ({"job": {"task": "gcg"}, "image_ids": ["0" * 64], "expires_in": 1e12}, "expires_in"),
        ({"job": {"task": "gcg"}, "image_ids": ["0" * 64], "expires_in": 0}, "expires_in"),
        ({"job": {"task": "gcg"}, "image_ids": ["0" * 64], "priority": "high"}, "priority"),
        ({"job": {"task": "gcg"}, "image_ids": ["0" * 64], "colour": "red"}, "colour"),
        ({"job": {"task": "gcg"}, "image_ids": ["0" * 64]}, "line 1: image_id"),
    ],
)
async def test_a_wrong_request_names_its_field(
    api: httpx.AsyncClient, backstage: Backstage, asked: dict[str, Any], field: str
) -> None:
    refused = await api.post("/batches", json=asked)
    assert (refused.status_code, refused.json()["field"]) == (422, field), refused.text
    assert refused.json()["remedy"]
    assert nothing_stored(backstage)


async def test_options_stand_in_the_query_of_a_manifest_and_nowhere_else(api: httpx.AsyncClient) -> None:
    body = manifest([{"image_id": await store(api), "task": "gcg"}])
    misspelt = await submit(api, body, on_invlaid="skip")
    assert (misspelt.status_code, misspelt.json()["field"]) == (422, "on_invlaid")
    both = await api.post("/batches?name=x", json={"image_ids": ["0" * 64], "job": {"task": "gcg"}})
    assert (both.status_code, both.json()["field"]) == (422, "query")
    other = await api.post("/batches", content=body, headers={"Content-Type": "text/csv"})
    assert (other.status_code, other.json()["field"]) == (415, "Content-Type")


async def test_too_many_jobs(api: httpx.AsyncClient, backstage: Backstage, settings: Settings) -> None:
    line = manifest([{"image_id": await store(api), "task": "gcg"}])
    refused = await submit(api, line * (settings.max_batch_jobs + 1))
    assert (refused.status_code, refused.json()["field"]) == (413, "body"), refused.text
    assert nothing_stored(backstage)


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


async def test_a_batch_is_paused_resumed_and_cancelled(
    api: httpx.AsyncClient, backstage: Backstage, result: Result
) -> None:
    image = await store(api)
    url = (await submit(api, manifest([{"image_id": image, "task": "gcg"}]) * 4)).headers["Location"]

    def admitted() -> int:
        with backstage.engine.begin() as connection:
            return len(jobs.admit(connection, 1 + sum(counted()[name] for name in ("vision", "llm", "pixel"))))

    def counted() -> dict[str, int]:
        with backstage.engine.connect() as connection:
            (view,) = batches.page(connection, LOCAL_OWNER, None, 1)
            return {state.value: count for state, count in view.counts.items()}

    assert admitted() == 1
    assert (await api.post(f"{url}/pause")).json()["state"] == "paused"
    assert admitted() == 0
    assert (await api.post(f"{url}/resume")).json()["state"] == "running"
    assert admitted() == 1

    cancelled = (await api.post(f"{url}/cancel")).json()
    assert cancelled["state"] == "canceled"
    assert admitted() == 0
    work_off(backstage)
    batch = (await api.get(url)).json()
    assert (batch["state"], batch["counts"]["canceled"], batch["progress"]) == ("finished", 4, 1.0)
    for move in ("pause", "resume", "retry"):
        assert (await api.post(f"{url}/{move}")).status_code == 409
    assert (await api.post(f"{url}/cancel")).status_code == 200


async def test_failed_jobs_and_they_alone_are_retried(
    api: httpx.AsyncClient, backstage: Backstage, result: Result
) -> None:
    image = await store(api)
    created = await submit(api, manifest([{"image_id": image, "task": "gcg"}]) * 3)
    url = created.headers["Location"]
    first, second, third = ((UUID(job["id"])) for job in (await api.get(f"{url}/jobs")).json()["jobs"])
    backstage.succeed(first, result)
    for job_id in (second, third):
        problem = InvalidInput("image", "It is blue.", "Paint it.").to_problem()
        backstage.fail(backstage.start(job_id, Stage.VISION), problem)
    work_off(backstage)
    batch = (await api.get(url)).json()
    assert (batch["state"], batch["counts"]["failed"]) == ("finished", 2)
    assert [(each["jobs"], each["line"], each["detail"]) for each in batch["problems"]] == [(2, 2, "It is blue.")]
    assert [line["error"]["detail"] for line in lines_of(await api.get(f"{url}/errors.jsonl"))] == ["It is blue."] * 2

    assert (await api.post(f"{url}/retry")).json()["state"] == "running"
    work_off(backstage)
    batch = (await api.get(url)).json()
    assert (batch["state"], batch["counts"]["queued"], batch["counts"]["succeeded"]) == ("running", 2, 1)
    backstage.succeed(second, result)
    backstage.succeed(third, result)
    work_off(backstage)
    assert (await api.get(url)).json()["counts"]["succeeded"] == 3
    assert [line["line"] for line in lines_of(await api.get(f"{url}/results.jsonl"))] == [1, 2, 3]


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
    found = lines_of(await api.get(f"{url}/errors.jsonl"))
    assert [(line["line"], line["state"]) for line in found] == [
        (4, "invalid"),
        (8, "invalid"),
        (9, "invalid"),
        (7, "failed"),
        (11, "canceled"),
    ]


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
    several = Result((unnamed, answer), "weights-1")
    key = 'a "quoted" \\ name/☃ 1.png'
    asked = [
        {"image_id": image, "task": "refseg", "expressions": ['the "red" one', "back\\slash"]},
        {"image_id": image, "task": "region_caption", "boxes": [[0, 0, 20, 10], [1.5, 2, 30, 31]]},
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
    assert [phrase["text"] for phrase in referred["result"]["phrases"]][:2] == [None, "grass"]
    (canceled,) = lines_of(await api.get(f"{url}/errors.jsonl"))
    assert (canceled["source"], canceled["image_id"]) == (f"s3://{bucket}/{key}", None)


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


async def test_results_come_page_after_page(api: httpx.AsyncClient, backstage: Backstage) -> None:
    """More wrong lines than a page holds."""
    image = await store(api)
    body = manifest([{"image_id": image, "task": "gcg"}]) + b"{}\n" * 2500
    batch = (await submit(api, body, on_invalid="skip")).json()
    lines = lines_of(await api.get(batch["links"]["errors"]))
    assert [line["line"] for line in lines] == list(range(2, 2502))


async def test_another_owners_batch_is_not_there(api: httpx.AsyncClient, backstage: Backstage) -> None:
    image = await store(api)
    url = (await submit(api, manifest([{"image_id": image, "task": "gcg"}]))).headers["Location"]
    with backstage.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO owners (id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'b')")
        connection.exec_driver_sql("UPDATE batches SET owner_id = '00000000-0000-7000-8000-000000000001'")
    for path in ("", "/jobs", "/results.jsonl", "/errors.jsonl"):
        assert (await api.get(url + path)).status_code == 404
    for move in ("cancel", "pause", "resume", "retry"):
        assert (await api.post(f"{url}/{move}")).status_code == 404
    assert (await api.get("/batches")).json() == {"batches": [], "next": None}


async def test_a_batch_counts_against_what_may_wait(settings: Settings, backstage: Backstage) -> None:
    app = create_app(settings.model_copy(update={"max_queued_jobs": 3}))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as api:
        line = manifest([{"image_id": await store(api), "task": "gcg"}])
        assert (await submit(api, line * 2)).status_code == 201
        refused = await submit(api, line * 2)
        assert (refused.status_code, refused.json()["field"]) == (429, "queued_jobs")
        assert (await submit(api, line)).status_code == 201
        assert (await submit(api, line)).status_code == 429
    assert backstage.contents().jobs == 3


async def test_a_finished_batch_is_told_of_once(api: httpx.AsyncClient, backstage: Backstage, result: Result) -> None:
    """An endpoint hears of the job, by the name that the client gave it, and of the batch."""
    with backstage.engine.begin() as connection:
        wanted = [EventType.JOB_SUCCEEDED, EventType.BATCH_FINISHED]
        endpoints.create(connection, LOCAL_OWNER, "https://hooks.example/", wanted, "", most=1)
    created = await submit(api, manifest([{"custom_id": "a", "image_id": await store(api), "task": "gcg"}]))
    batch = created.json()
    (job,) = (await api.get(batch["links"]["jobs"])).json()["jobs"]
    work_off(backstage)
    backstage.succeed(UUID(job["id"]), result)
    for _ in range(2):
        work_off(backstage)
    with backstage.engine.connect() as connection:
        told = connection.execute(select(webhook_deliveries).order_by(webhook_deliveries.c.id)).all()
    assert [row.event for row in told] == ["job.succeeded", "batch.finished"]
    of_job, of_batch = (row.payload["data"] for row in told)
    assert (of_job["id"], of_job["batch_id"], of_job["custom_id"]) == (job["id"], batch["id"], "a")
    assert (of_batch["id"], of_batch["state"]) == (batch["id"], "finished")


async def test_a_key_that_s3_would_not_take_is_refused(api: httpx.AsyncClient, settings: Settings) -> None:
    (bucket,) = settings.import_buckets
    for key, status in (("ü" * 512, 201), ("ü" * 513, 422)):
        answer = await submit(api, manifest([{"s3_uri": f"s3://{bucket}/{key}", "task": "gcg"}]))
        assert answer.status_code == status, answer.text
