"""POST /images/uploads, and what its answers let a client put where."""

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from services.gateway.app import create_app
from shared import access
from shared.access import OwnerLimits
from shared.objects import upload_key_of
from shared.scopes import Scope
from shared.settings import Settings
from shared.tables import LOCAL_OWNER
from tests.gateway.conftest import Backstage, encode, picture
from tests.gateway.uploads.conftest import declare, described, put

pytestmark = pytest.mark.anyio


async def test_many_are_declared_at_once_and_answered_in_order(api, png, photo) -> None:
    stored = (await api.post("/images", content=png)).json()["id"]
    fill = [described(str(n).encode(), media_type="image/webp") for n in range(998)]
    answers = await declare(api, *fill, described(png), described(photo, media_type="image/jpeg"))
    assert [answer.id for answer in answers[:998]] == [one["sha256"] for one in fill]
    assert [answer.stored for answer in answers] == [False] * 998 + [True, False]
    assert answers[998].id == stored
    last = answers[999].upload
    assert last is not None
    assert (last.method, last.headers) == ("PUT", {"Content-Type": "image/jpeg", "Content-Length": str(len(photo))})
    assert await put(answers[999], photo) == 200
    known = (await api.get(f"/images/{answers[999].id}")).json()
    assert (known["width"], known["height"], known["media_type"]) == (32, 48, "image/jpeg")


async def test_a_list_may_name_an_image_twice(api, backstage, png) -> None:
    first, second = await declare(api, described(png), described(png))
    assert first == second
    with backstage.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM uploads")).scalar_one() == 1


@pytest.mark.parametrize(
    ("images", "status", "field"),
    [
        ([], 422, "images"),
        ([described(bytes([n % 256, n // 256])) for n in range(1001)], 422, "images"),
        ([described(b"x", sha256="X" * 64)], 422, "images[0].sha256"),
        ([described(b"x", bytes=0)], 422, "images[0].bytes"),
        ([described(b"x", bytes=2**63)], 422, "images[0].bytes"),
        ([described(b"x"), described(b"y", bytes=33 * 1024 * 1024)], 413, "images[1].bytes"),
        ([described(b"x", media_type="image/gif")], 422, "images[0].media_type"),
        ([described(b"x", colour="red")], 422, "images[0].colour"),
        ([described(b"x"), described(b"x", bytes=2)], 422, "images[1]"),
        ("all", 422, "images"),
    ],
)
async def test_a_list_that_makes_no_sense_is_refused_as_a_whole(api, backstage, images, status, field) -> None:
    answer = await api.post("/images/uploads", json={"images": images})
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert answer.json()["remedy"]
    with backstage.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM uploads")).scalar_one() == 0


async def test_declared_bytes_count_as_stored_ones(app: FastAPI, backstage: Backstage, png: bytes) -> None:
    with backstage.engine.begin() as connection:
        _, secret = access.create_key(connection, "ann", (Scope.READ, Scope.WRITE))
        access.set_limits(connection, "ann", OwnerLimits(stored_bytes=2 * len(png) + 10))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://gateway",
        headers={"Authorization": f"Bearer {secret}"},
    ) as ann:
        (first,) = await declare(ann, described(png))
        # Declared again, stored, and declared once more it counts once.
        await declare(ann, described(png))
        assert await put(first, png) == 200
        assert (await ann.get(f"/images/{first.id}")).status_code == 200
        others = [described(bytes([n]) * (len(png) // 2)) for n in range(3)]
        full = await ann.post("/images/uploads", json={"images": [described(png), *others]})
        assert (full.status_code, full.json()["field"]) == (429, "stored_bytes")
        await declare(ann, described(png), *others[:2])
        assert (await ann.post("/images", content=encode(picture(seed=1)))).status_code == 429
        with backstage.engine.begin() as connection:
            connection.execute(text("UPDATE uploads SET expires_at = now()"))
        assert (await ann.post("/images", content=encode(picture(seed=1)))).status_code == 201


async def test_urls_lead_where_clients_reach_the_object_store(settings: Settings, backstage, png) -> None:
    public = {"s3_public_endpoint": "objects.example", "s3_public_secure": True, "upload_url_seconds": 60}
    app = create_app(settings.model_copy(update=public))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client,
    ):
        (expected,) = await declare(client, described(png))
    assert expected.upload is not None
    key = upload_key_of(expected.id, LOCAL_OWNER)
    assert expected.upload.url.startswith(f"https://objects.example/{settings.s3_bucket}/{key}?")
    assert "X-Amz-Expires=60&" in expected.upload.url


async def test_the_object_store_takes_no_other_length_and_no_other_type(api, backstage, png) -> None:
    (expected,) = await declare(api, described(png))
    assert await put(expected, png + b"!") == 403
    assert await put(expected, png[1:]) == 403
    assert expected.upload is not None
    html = expected.upload.model_copy(update={"headers": {"Content-Type": "text/html"}})
    assert await put(expected.model_copy(update={"upload": html}), png) == 403
    assert backstage.contents().objects == ()


async def test_what_was_declared_before_is_told_to_have_arrived_once_its_bytes_are_there(api, backstage, png, photo):
    async def arrived(data: bytes, **otherwise: object) -> bool:
        (expected,) = await declare(api, described(data, **otherwise))
        assert expected.stored == (expected.upload is None)
        return expected.arrived

    (expected,) = await declare(api, described(png))
    assert not expected.arrived
    assert not await arrived(png)
    assert await put(expected, png) == 200
    assert await arrived(png)
    assert not await arrived(png, bytes=len(png) + 1)
    # Only one of these is there.
    fill = [described(str(n).encode()) for n in range(20)]
    await declare(api, *fill)
    many = await declare(api, *fill[:10], described(png), *fill[10:])
    assert [one.id for one in many if one.arrived] == [expected.id]
    assert (await api.get(f"/images/{expected.id}")).status_code == 200
    assert not await arrived(png)
    assert (await api.delete(f"/images/{expected.id}")).status_code == 204
    assert not await arrived(png)


async def test_bytes_whose_declaration_is_over_are_not_counted_on(api, backstage, png) -> None:
    (expected,) = await declare(api, described(png))
    assert await put(expected, png) == 200
    with backstage.engine.begin() as connection:
        connection.execute(text("UPDATE uploads SET expires_at = now()"))
    (anew,) = await declare(api, described(png))
    assert not anew.arrived


async def test_another_owners_upload_has_not_arrived(app: FastAPI, api, backstage: Backstage, png: bytes) -> None:
    (expected,) = await declare(api, described(png))
    assert await put(expected, png) == 200
    with backstage.engine.begin() as connection:
        _, secret = access.create_key(connection, "ann", (Scope.READ, Scope.WRITE))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway", headers={"Authorization": f"Bearer {secret}"}
    ) as ann:
        for _ in range(2):
            (hers,) = await declare(ann, described(png))
            assert not hers.arrived
