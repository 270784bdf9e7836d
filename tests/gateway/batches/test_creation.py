"""What becomes a batch: manifests, lists of images and buckets, and what is wrong with them."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from services.gateway.manifest.lines import MAX_LINE_BYTES
from shared.settings import Settings
from shared.tables import batch_errors
from shared.tables import batches as batch_table
from tests.gateway.batches.conftest import JSONL, limited, lines_of, manifest, store, submit
from tests.gateway.conftest import Backstage

pytestmark = pytest.mark.anyio


def nothing_stored(backstage: Backstage) -> bool:
    with backstage.engine.connect() as connection:
        counted = (select(func.count()).select_from(table) for table in (batch_table, batch_errors))
        return backstage.contents().jobs == 0 and not any(connection.execute(each).scalar_one() for each in counted)


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
        (3, "line"),
        (5, "image_id"),
        (6, "custom_id"),
        (7, "boxes"),
        (8, "line"),
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


async def test_a_line_that_is_left_out_takes_its_name_from_no_other(
    api: httpx.AsyncClient, backstage: Backstage
) -> None:
    image = await store(api)
    good = {"custom_id": "a", "image_id": image, "task": "gcg"}
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"image_id": "0" * 64}, "image_id"),
        ({"task": "region_caption", "boxes": [[0, 0, 49, 32]]}, "boxes"),
        ({"task": "dance"}, "task"),
    )
    for fault, field in wrong:
        body = manifest([good | fault, good, good, good | fault])
        batch = (await submit(api, body, on_invalid="skip")).json()
        assert [job["line"] for job in (await api.get(batch["links"]["jobs"])).json()["jobs"]] == [2]
        told = lines_of(await api.get(batch["links"]["errors"]))
        fields = [(line["line"], line["error"]["field"]) for line in told]
        assert fields == [(1, field), (3, "custom_id"), (4, field)]
        assert told[1]["error"]["detail"] == "Line 2 has the same custom_id."
    refused = await submit(api, manifest([good | {"image_id": "0" * 64}, good]))
    assert [(line["line"], line["field"]) for line in refused.json()["lines"]] == [(1, "image_id"), (2, "custom_id")]


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


async def test_a_manifest_of_nothing_is_refused(api: httpx.AsyncClient, backstage: Backstage) -> None:
    empty, useless = "The manifest is empty.", "No line of the manifest is a job."
    for body, options, detail in (
        (b"", {}, empty),
        (b"\n\n", {}, empty),
        (b"{}\n", {"on_invalid": "skip"}, useless),
    ):
        refused = await submit(api, body, **options)
        assert (refused.status_code, refused.json()["field"]) == (422, "body"), refused.text
        assert refused.json()["detail"] == detail
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
    asked = {"image_ids": images, "job": {"task": "gcg"}, "priority": "interactive"}
    created = await api.post("/batches", json=asked)
    assert created.status_code == 201, created.text
    assert (created.json()["jobs"], created.json()["priority"]) == (3, "interactive")
    listed = (await api.get(created.json()["links"]["jobs"])).json()["jobs"]
    assert [(job["custom_id"], job["image_id"]) for job in listed] == [(image, image) for image in images]


async def test_wrong_entries_of_a_list_are_told_by_their_place_in_it(
    api: httpx.AsyncClient, backstage: Backstage
) -> None:
    small, large = await store(api), await store(api, width=96)
    asked: dict[str, Any] = {
        "image_ids": [large, "0" * 64, large, small],
        "job": {"task": "region_caption", "boxes": [[50, 0, 90, 30]]},
    }
    refused = await api.post("/batches", json=asked)
    assert (refused.status_code, refused.json()["field"]) == (422, "image_ids[1]"), refused.text
    assert refused.json()["detail"].startswith("image_ids[1] is wrong: ")
    assert refused.json()["remedy"].endswith("to leave such entries out.")
    told = [(2, "image_ids[1]"), (3, "image_ids[2]"), (4, "image_ids[3]")]
    assert [(line["line"], line["field"]) for line in refused.json()["lines"]] == told
    assert refused.json()["lines"][1]["detail"] == "image_ids[0] is the same image."
    assert nothing_stored(backstage)
    batch = (await api.post("/batches", json={**asked, "on_invalid": "skip"})).json()
    assert (batch["jobs"], batch["invalid_lines"]) == (1, 3)
    errors = lines_of(await api.get(batch["links"]["errors"]))
    assert [(line["line"], line["error"]["field"]) for line in errors] == told
    none = await api.post("/batches", json={**asked, "image_ids": ["0" * 64], "on_invalid": "skip"})
    assert (none.status_code, none.json()["field"]) == (422, "image_ids"), none.text


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
        ({"bucket": bucket, "prefix": "may/"}, "s3.prefix"),
    ):
        refused = await api.post("/batches", json={"s3": wrong, "job": {"task": "gcg"}})
        assert (refused.status_code, refused.json()["field"]) == (422, field), refused.text


async def test_a_key_that_s3_would_not_take_is_refused(api: httpx.AsyncClient, settings: Settings) -> None:
    (bucket,) = settings.import_buckets
    for key, status in (("ü" * 512, 201), ("ü" * 513, 422)):
        answer = await submit(api, manifest([{"s3_uri": f"s3://{bucket}/{key}", "task": "gcg"}]))
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"job": {"task": "gcg"}}, "body"),
        ({"job": {"task": "gcg"}, "image_ids": []}, "image_ids"),
        ({"job": {"task": "gcg"}, "image_ids": ["x"]}, "image_ids[0]"),
        ({"job": {"task": "refseg", "expressions": []}, "image_ids": ["0" * 64]}, "job.expressions"),
        ({"job": {"task": "vqa"}, "image_ids": ["0" * 64]}, "job.question"),
        ({"job": {}, "image_ids": ["0" * 64]}, "job.task"),
        ({"job": {"task": "dance"}, "image_ids": ["0" * 64]}, "job.task"),
        ({"job": {"task": "gcg"}, "image_ids": ["0" * 64], "expires_in": 1e12}, "expires_in"),
        ({"job": {"task": "gcg"}, "image_ids": ["0" * 64], "expires_in": 0}, "expires_in"),
        ({"job": {"task": "gcg"}, "image_ids": ["0" * 64], "priority": "high"}, "priority"),
        ({"job": {"task": "gcg"}, "image_ids": ["0" * 64], "colour": "red"}, "colour"),
        ({"job": {"task": "gcg"}, "image_ids": ["0" * 64]}, "image_ids[0]"),
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


async def test_a_batch_counts_against_what_may_wait(settings: Settings, backstage: Backstage) -> None:
    async with limited(settings, 3) as api:
        line = manifest([{"image_id": await store(api), "task": "gcg"}])
        assert (await submit(api, line * 2)).status_code == 201
        refused = await submit(api, line * 2)
        assert (refused.status_code, refused.json()["field"]) == (429, "queued_jobs")
        assert refused.headers["retry-after"] == "30"
        never = await submit(api, line * 4)
        assert (never.status_code, never.json()["field"]) == (429, "queued_jobs")
        assert "retry-after" not in never.headers
        assert (await submit(api, line)).status_code == 201
        assert (await submit(api, line)).status_code == 429
    assert backstage.contents().jobs == 3
