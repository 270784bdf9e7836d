"""Whatever is wrong with a request: a problem that names the field and the remedy; nothing stored, nothing queued."""

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from shared.schema import Problem
from shared.settings import Settings

pytestmark = pytest.mark.anyio

UNKNOWN = "0" * 64


def encode(file_format: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    noise = np.random.default_rng(7).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


def header_bomb() -> bytes:
    chunks = (b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")
    framed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def deep_grey() -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(buffer, "PNG")
    return buffer.getvalue()


def palette_with_alpha() -> bytes:
    buffer = BytesIO()
    Image.new("P", (64, 48)).save(buffer, "PNG", transparency=0)
    return buffer.getvalue()


BAD_IMAGES: dict[str, tuple[Callable[[], bytes], int]] = {
    "zero bytes": (lambda: b"", 422),
    "not an image": (lambda: b"#!/bin/sh\necho hello\n", 415),
    "another format": (lambda: encode("GIF"), 415),
    "truncated png": (lambda: encode()[:-500], 422),
    "truncated jpeg": (lambda: encode("JPEG", size=(640, 480))[:-5000], 422),
    "truncated webp": (lambda: encode("WEBP")[:-500], 422),
    "100,000 × 100,000 pixels in the header": (header_bomb, 413),
    "animated png": (lambda: encode(save_all=True, append_images=[Image.new("RGB", (64, 48))]), 415),
    "animated webp": (lambda: encode("WEBP", save_all=True, append_images=[Image.new("RGB", (64, 48))]), 415),
    "animated gif": (lambda: encode("GIF", save_all=True, append_images=[Image.new("RGB", (64, 48))]), 415),
    "cmyk": (lambda: encode("JPEG", "CMYK"), 415),
    "16 bits": (deep_grey, 415),
    "1 × 1": (lambda: encode(size=(1, 1)), 422),
    "palette with alpha": (palette_with_alpha, 415),
    "more bytes than allowed": (lambda: encode(size=(700, 700)), 413),
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Limits low enough to pass with little data."""
    return settings.model_copy(update={"max_image_bytes": 1_000_000, "max_image_pixels": 4_000_000})


@pytest.fixture
def refused(api: httpx.AsyncClient, backstage: Any) -> Any:
    """Send a request and see it refused, with nothing left behind."""

    async def send(method: str, path: str, status: int, field: str, **request: Any) -> Problem:
        before = backstage.contents()
        answer = await api.request(method, path, **request)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = Problem.model_validate_json(answer.content)
        assert (problem.status, problem.field) == (status, field), problem
        assert problem.type.startswith("urn:glamm:problem:")
        assert problem.title
        assert problem.detail
        assert problem.remedy
        assert backstage.contents() == before
        return problem

    return send


@pytest.mark.parametrize("name", BAD_IMAGES)
async def test_a_bad_image_is_refused_however_it_comes(refused, name: str) -> None:
    make, status = BAD_IMAGES[name]
    data = make()
    file = {"image": ("a.png", data, "image/png")}
    await refused("POST", "/images", status, "image", content=data, headers={"Content-Type": "image/png"})
    await refused("POST", "/images", status, "image", files=file)
    await refused("POST", "/jobs", status, "image", files=file, data={"task": "gcg"})


BAD_REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown task": ({"task": "paint"}, "task"),
    "no task": ({}, "task"),
    "empty prompt": ({"task": "gcg", "prompt": ""}, "prompt"),
    "blank prompt": ({"task": "gcg", "prompt": " \n\t"}, "prompt"),
    "prompt of 100 kB": ({"task": "gcg", "prompt": "a" * 100_000}, "prompt"),
    "prompt with a null character": ({"task": "gcg", "prompt": "a\0b"}, "prompt"),
    "prompt that steers the model": ({"task": "gcg", "prompt": "the dog [SEG]"}, "prompt"),
    "prompt that is the unknown token": ({"task": "gcg", "prompt": "the <unk>"}, "prompt"),
    "prompt where none belongs": ({"task": "refseg", "expressions": ["a dog"], "prompt": "a dog"}, "prompt"),
    "no expressions": ({"task": "refseg"}, "expressions"),
    "an empty list of expressions": ({"task": "refseg", "expressions": []}, "expressions"),
    "an empty expression": ({"task": "refseg", "expressions": ["a dog", ""]}, "expressions[1]"),
    "an expression of dots": ({"task": "refseg", "expressions": ["a dog", "..."]}, "expressions[1]"),
    "an expression that nobody sees": ({"task": "refseg", "expressions": ["\u200b"]}, "expressions[0]"),
    "an expression that is a number": ({"task": "refseg", "expressions": ["a dog", 7]}, "expressions[1]"),
    "65 expressions": ({"task": "refseg", "expressions": ["a dog"] * 65}, "expressions"),
    "no question": ({"task": "vqa"}, "question"),
    "empty question": ({"task": "vqa", "question": " "}, "question"),
    "question about a box that is not there": (
        {"task": "vqa", "question": "What is <box2>?", "boxes": [[0, 0, 9, 9]]},
        "question",
    ),
    "no caption": ({"task": "ground"}, "caption"),
    "caption with markup": ({"task": "ground", "caption": "a <b>dog</b>"}, "caption"),
    "phrase that the caption lacks": ({"task": "ground", "caption": "a dog", "phrases": ["a cat"]}, "phrases[0]"),
    "no box where one is needed": ({"task": "region_caption"}, "boxes"),
    "an empty list of boxes": ({"task": "region_caption", "boxes": []}, "boxes"),
    "65 boxes": ({"task": "region_caption", "boxes": [[0, 0, 9, 9]] * 65}, "boxes"),
    "inverted box": ({"task": "region_caption", "boxes": [[9, 0, 0, 9]]}, "boxes[0]"),
    "boxes where none belong": ({"task": "gcg", "boxes": [[0, 0, 9, 9]]}, "boxes"),
    "box beyond the image": ({"task": "region_caption", "boxes": [[0, 0, 10, 4900]]}, "boxes[0]"),
    "box without area": ({"task": "region_caption", "boxes": [[5, 5, 5, 9]]}, "boxes[0]"),
    "box of three numbers": ({"task": "region_caption", "boxes": [[1, 2, 3]]}, "boxes[0][3]"),
    "box of words": ({"task": "region_caption", "boxes": [["a", 2, 3, 4]]}, "boxes[0][0]"),
    "endless box": ({"task": "region_caption", "boxes": [[0, 0, 1e999, 5]]}, "boxes[0]"),
    "no time": ({"task": "gcg", "expires_in": 0}, "expires_in"),
    "time before now": ({"task": "gcg", "expires_in": -1}, "expires_in"),
    "more time than a job may take": ({"task": "gcg", "expires_in": 604_801}, "expires_in"),
    "time without an end": ({"task": "gcg", "expires_in": 1e999}, "expires_in"),
    "time in words": ({"task": "gcg", "expires_in": "soon"}, "expires_in"),
    "unknown priority": ({"task": "gcg", "priority": "urgent"}, "priority"),
    "misspelt field": ({"task": "gcg", "promt": "a dog"}, "promt"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_a_bad_request_is_refused_in_json_and_as_a_form(api, refused, png, name: str) -> None:
    fields, field = BAD_REQUESTS[name]
    form = {key: json.dumps(value) if isinstance(value, list) else value for key, value in fields.items()}
    await refused("POST", "/jobs", 422, field, files={"image": ("a.png", png, "image/png")}, data=form)

    image_id = (await api.post("/images", content=png)).json()["id"]
    body = json.dumps({"image_id": image_id, **fields})
    await refused("POST", "/jobs", 422, field, content=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"\xff\xfe{}", "body"),
        (b"[" * 100_000, "body"),
        (b'{"task": "gcg"}', "image_id"),
        (b'{"task": "gcg", "image_id": "cat.png"}', "image_id"),
        (b'{"task": "gcg", "image_id": 7}', "image_id"),
        (b'{"task": "gcg", "image_id": "%s"}' % UNKNOWN.encode(), "image_id"),
        (b'{"task": "gcg", "image_id": "%s", "prompt": 7}' % UNKNOWN.encode(), "prompt"),
        (b'{"task": "gcg", "image_id": "%s", "prompt": "\\ud800"}' % UNKNOWN.encode(), "body"),
    ],
)
async def test_bad_json_is_refused(refused, body: bytes, field: str) -> None:
    await refused("POST", "/jobs", 422, field, content=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("extra", ["caption", "query", "body", "task", "path", "colour"])
async def test_a_field_that_a_conversation_does_not_know_is_named(refused, api, png, extra: str) -> None:
    image_id = (await api.post("/images", content=png)).json()["id"]
    problem = await refused("POST", "/conversations", 422, extra, json={"image_id": image_id, extra: "a"})
    assert problem.remedy == "Leave it out, or correct its name."


@pytest.mark.parametrize("extra", ["caption", "query", "gcg"])
async def test_a_field_named_like_a_task_or_a_place_is_named_in_a_job_too(refused, extra: str) -> None:
    await refused("POST", "/jobs", 422, extra, json={"task": "gcg", "image_id": UNKNOWN, extra: "a"})


async def test_json_of_more_than_a_megabyte_is_refused(refused) -> None:
    body = b'{"prompt": "' + b"a" * 2_000_000
    await refused("POST", "/jobs", 413, "body", content=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "image/png", None])
async def test_jobs_of_another_content_type_are_refused(refused, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    await refused("POST", "/jobs", 415, "Content-Type", content=b'{"task": "gcg"}', headers=headers)


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "application/x-www-form-urlencoded"])
async def test_images_of_another_content_type_are_refused(refused, png, content_type: str) -> None:
    await refused("POST", "/images", 415, "Content-Type", content=png, headers={"Content-Type": content_type})
    await refused("POST", "/images", 415, "image", files={"image": ("a.txt", png, content_type)})


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/images", "image/png"),
        ("/images", "multipart/form-data; boundary=x"),
        ("/jobs", "application/json"),
        ("/jobs", "multipart/form-data; boundary=x"),
        ("/conversations", "application/json"),
        ("/batches", "application/json"),
        ("/batches", "application/jsonl"),
    ],
)
async def test_a_compressed_body_is_told_as_that(refused, path: str, content_type: str) -> None:
    headers = {"Content-Type": content_type, "Content-Encoding": "gzip"}
    await refused("POST", path, 415, "Content-Encoding", content=gzip.compress(b'{"task": "gcg"}'), headers=headers)


async def test_a_body_that_says_it_is_not_compressed_is_read(api, png) -> None:
    headers = {"Content-Type": "image/png", "Content-Encoding": "identity"}
    assert (await api.post("/images", content=png, headers=headers)).status_code == 201


async def test_a_form_must_bring_one_image_and_known_fields(refused, png) -> None:
    file = ("a.png", png, "image/png")
    await refused("POST", "/images", 422, "image", files={"image": (None, "text")})
    await refused("POST", "/images", 422, "picture", files={"picture": file})
    await refused("POST", "/images", 422, "note", files={"image": file}, data={"note": "hello"})
    await refused("POST", "/images", 422, "body", files=[("image", file), ("image", file)])
    await refused("POST", "/jobs", 422, "image", files={"task": (None, "gcg")})
    await refused(
        "POST", "/jobs", 422, "task", files=[("task", (None, "gcg")), ("task", (None, "gcg")), ("image", file)]
    )
    await refused("POST", "/jobs", 422, "task", files={"task": ("task.txt", b"gcg", "text/plain")})
    await refused("POST", "/jobs", 422, "image_id", files={"image": file}, data={"task": "gcg", "image_id": UNKNOWN})
    await refused("POST", "/jobs", 422, "image_id", files={"task": (None, "gcg"), "image_id": (None, UNKNOWN)})
    await refused("POST", "/jobs", 422, "boxes", files={"image": file}, data={"task": "gcg", "boxes": "[[1, 2"})


@pytest.mark.parametrize("with_image", [True, False])
async def test_a_field_of_a_form_that_is_too_long_is_named_whatever_else_the_form_brings(
    refused, png, with_image: bool
) -> None:
    image = {"image": ("a.png", png, "image/png")} if with_image else {}
    field = {"prompt": (None, "a" * 1_500_000)}
    for method, path in (("POST", "/jobs"), ("PUT", "/jobs/0198c0de-0000-7000-8000-000000000000"), ("POST", "/images")):
        problem = await refused(method, path, 413, "prompt", files={"task": (None, "gcg"), **field, **image})
        assert problem.detail == "The form's field 'prompt' has more than 1,048,576 bytes."
        assert problem.remedy == "Send at most 1,048,576 bytes of text in a field."


async def test_a_form_that_is_too_long_as_a_whole_is_refused_as_that(refused) -> None:
    parts = {f"prompt {n}": (None, "a" * 1_000_000) for n in range(3)}
    problem = await refused("POST", "/jobs", 413, "body", files=parts)
    assert problem.detail == "The form has more than 2,048,576 bytes."
    assert problem.remedy == "Send an image of at most 1,000,000 bytes, and no more than 1,048,576 bytes besides."


async def test_the_file_of_a_form_that_is_too_long_is_named(refused) -> None:
    for name in ("image", "picture"):
        await refused("POST", "/jobs", 413, name, files={name: ("a.png", b"a" * 1_000_001, "image/png")})


async def test_a_form_of_many_fields_is_told_how_many_there_may_be(refused, png) -> None:
    fields = {f"field {n}": (None, "a") for n in range(13)}
    problem = await refused("POST", "/jobs", 422, "body", files={"image": ("a.png", png, "image/png"), **fields})
    assert "at most 12 fields" in (problem.remedy or "")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b"not a form"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Type: image/png\r\n\r\nhello\r\n--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nb',
        ),
    ],
)
async def test_a_malformed_form_is_refused(api, backstage, content_type: str, body: bytes) -> None:
    for path in ("/images", "/jobs"):
        answer = await api.post(path, content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["field"] in ("body", "image")
        assert answer.json()["remedy"]
    assert backstage.contents().images == 0
    assert backstage.contents().objects == ()


@pytest.mark.parametrize("path", ["", "/overlay.png", "/masks/0.png"])
async def test_a_malformed_job_id_is_refused(refused, path: str) -> None:
    problem = await refused("GET", f"/jobs/not-a-uuid{path}", 422, "job_id")
    assert "0198" in problem.remedy


@pytest.mark.parametrize("path", ["", "/overlay.png", "/masks/0.png"])
async def test_an_unknown_job_is_not_found(api, path: str) -> None:
    answer = await api.get(f"/jobs/0198c0de-0000-7000-8000-000000000000{path}")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:glamm:problem:not-found")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("wait", ["-1", "soon", "nan", "inf"])
async def test_a_bad_wait_is_refused(refused, wait: str) -> None:
    await refused("GET", f"/jobs/0198c0de-0000-7000-8000-000000000000?wait={wait}", 422, "wait")


@pytest.mark.parametrize("image_id", ["cat.png", "ABC", UNKNOWN[1:]])
async def test_a_malformed_image_id_is_refused(refused, image_id: str) -> None:
    await refused("GET", f"/images/{image_id}", 422, "image_id")


async def test_an_image_sent_with_a_bad_job_is_not_kept(refused, api, backstage, png) -> None:
    file = {"image": ("a.png", png, "image/png")}
    await refused("POST", "/jobs", 422, "expressions", files=file, data={"task": "refseg"})
    assert (await api.get(f"/images/{sha256(png).hexdigest()}")).status_code == 404
