"""POST /images and GET /images/{id}."""

from hashlib import sha256

import httpx
import pytest

from shared.objects import key_of

pytestmark = pytest.mark.anyio


async def test_an_image_is_stored_once_under_the_hash_of_its_bytes(api, backstage, png) -> None:
    image_id = sha256(png).hexdigest()
    expected = {"id": image_id, "width": 48, "height": 32, "media_type": "image/png", "bytes": len(png)}

    first = await api.post("/images", content=png, headers={"Content-Type": "image/png"})
    assert (first.status_code, first.json()) == (201, {**expected, "created": True})
    assert first.headers["Location"] == f"/images/{image_id}"

    again = await api.post("/images", content=png, headers={"Content-Type": "image/png"})
    assert (again.status_code, again.json()) == (200, {**expected, "created": False})

    assert backstage.contents().objects == (key_of(image_id),)
    assert backstage.contents().images == 1
    assert backstage.objects.get(key_of(image_id)) == png
    assert backstage.objects.stat(key_of(image_id)).media_type == "image/png"


@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "image/jpeg", "IMAGE/PNG; q=1"])
async def test_the_bytes_decide_what_an_image_is(api, png, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await api.post("/images", content=png, headers=headers)
    assert (answer.status_code, answer.json()["media_type"]) == (201, "image/png")


async def test_an_image_may_come_as_the_file_of_a_form(api, backstage, png) -> None:
    answer = await api.post("/images", files={"image": ("a.png", png, "image/png")})
    assert (answer.status_code, answer.json()["id"]) == (201, sha256(png).hexdigest())
    assert backstage.contents().images == 1


async def test_an_image_may_come_in_chunks_of_no_declared_length(api, png) -> None:
    async def chunks():
        for start in range(0, len(png), 100):
            yield png[start : start + 100]

    answer = await api.post("/images", content=chunks(), headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.json()["bytes"]) == (201, len(png))


async def test_the_size_is_that_of_the_upright_picture(api, photo) -> None:
    answer = await api.post("/images", content=photo, headers={"Content-Type": "image/jpeg"})
    assert (answer.json()["width"], answer.json()["height"]) == (32, 48)


async def test_a_client_can_ask_whether_an_image_is_stored(api, png) -> None:
    image_id = sha256(png).hexdigest()
    missing = await api.get(f"/images/{image_id}")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:glamm:problem:not-found")
    await api.post("/images", content=png)
    known = await api.get(f"/images/{image_id}")
    assert (known.status_code, known.json()["bytes"], known.json()["created"]) == (200, len(png), False)


async def test_an_object_that_was_lost_comes_back_with_the_next_upload(api, backstage, png) -> None:
    await api.post("/images", content=png)
    key = key_of(sha256(png).hexdigest())
    backstage.objects.delete(key)
    answer: httpx.Response = await api.post("/images", content=png)
    assert answer.status_code == 200
    assert backstage.objects.get(key) == png
