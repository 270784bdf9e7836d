"""API keys: who may do what, and that what belongs to one owner is not there for another."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.gateway import keyring
from services.gateway.app import create_app
from services.gateway.keyring import is_loopback
from shared import access
from shared.access import OwnerLimits
from shared.scopes import Scope
from shared.settings import Settings
from tests.gateway.conftest import Backstage

pytestmark = pytest.mark.anyio

Use = Callable[..., httpx.AsyncClient]
NOWHERE = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture
async def use(app: FastAPI, backstage: Backstage) -> AsyncIterator[Use]:
    """A client with a key of that owner with those scopes, or with the secret that is given."""
    opened: list[httpx.AsyncClient] = []

    def use(owner: str = "ann", *scopes: Scope, secret: str | None = None) -> httpx.AsyncClient:
        if secret is None:
            with backstage.engine.begin() as connection:
                _, secret = access.create_key(connection, owner, scopes or (Scope.READ, Scope.WRITE))
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        transport = httpx.ASGITransport(app)
        opened.append(httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers))
        return opened[-1]

    yield use
    for client in opened:
        await client.aclose()


async def test_a_key_opens_the_service_and_an_unknown_one_does_not(use: Use, png: bytes) -> None:
    keyed = use("ann")
    assert (await keyed.post("/images", content=png)).status_code == 201
    answer = await use(secret="glamm_a-secret-that-opens-nothing-at-all").get(f"/jobs/{NOWHERE}")
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:glamm:problem:unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_first_key_closes_an_open_service_within_seconds(
    app: FastAPI, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "REMEMBERED_SECONDS", 0.0)
    bare = use(secret="")
    assert (await bare.get(f"/jobs/{NOWHERE}")).status_code == 404
    admin = use("ops", Scope.ADMIN)
    answer = await bare.get(f"/jobs/{NOWHERE}")
    assert (answer.status_code, answer.json()["field"]) == (401, "Authorization")
    # Revoking the last key opens nothing again.
    (key,) = (await admin.get("/keys")).json()["keys"]
    assert (await admin.delete(f"/keys/{key['id']}")).json()["revoked_at"]
    assert (await bare.get(f"/jobs/{NOWHERE}")).status_code == 401
    assert (await admin.get("/keys")).status_code == 401
    assert (await bare.get("/healthz")).status_code == 200
    assert (await bare.get("/readyz")).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "gateway.example"])
async def test_beyond_loopback_a_key_is_wanted_even_where_there_is_none(
    host: str, settings: Settings, backstage: Backstage
) -> None:
    assert not is_loopback(host)
    app = create_app(settings.model_copy(update={"gateway_host": host}))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as bare,
    ):
        assert (await bare.get(f"/jobs/{NOWHERE}")).status_code == 401


def test_loopback_is_told_from_other_addresses() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))


async def test_a_key_may_do_what_its_scopes_say(use: Use, png: bytes) -> None:
    reader, writer = use("ann", Scope.READ), use("ann", Scope.WRITE)
    refused = await reader.post("/images", content=png)
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:glamm:problem:forbidden")
    assert "write" in refused.json()["detail"]
    stored = (await writer.post("/images", content=png)).json()["id"]
    assert (await writer.get(f"/images/{stored}")).status_code == 403
    assert (await reader.get(f"/images/{stored}")).status_code == 200
    assert (await reader.get("/keys")).status_code == 403


async def test_what_one_owner_has_is_not_there_for_another(use: Use, png: bytes, backstage: Backstage) -> None:
    ann, bob = use("ann"), use("bob")
    image = (await ann.post("/images", content=png)).json()["id"]
    job = (await ann.post("/jobs", json={"image_id": image, "task": "gcg"})).json()["id"]
    talk = (await ann.post("/conversations", json={"image_id": image})).json()["id"]
    for method, path, body in (
        ("GET", f"/images/{image}", None),
        ("DELETE", f"/images/{image}", None),
        ("GET", f"/jobs/{job}", None),
        ("GET", f"/jobs/{job}/overlay.png", None),
        ("GET", f"/jobs/{job}/masks/0.png", None),
        ("GET", f"/conversations/{talk}", None),
        ("POST", f"/conversations/{talk}/turns", {"task": "gcg"}),
    ):
        answer = await bob.request(method, path, json=body)
        assert (method, path, answer.status_code) == (method, path, 404)
        # To the letter as what is nobody's.
        thing = path.split("/")[2]
        nowhere = "0" * 64 if thing == image else NOWHERE
        unknown = await bob.request(method, path.replace(thing, str(nowhere)), json=body)
        assert answer.text == unknown.text.replace(str(nowhere), thing)
    for path in ("/jobs", "/conversations"):
        answer = await bob.post(path, json={"image_id": image} | ({"task": "gcg"} if path == "/jobs" else {}))
        assert (answer.status_code, answer.json()["field"]) == (422, "image_id")
    assert (await ann.get(f"/jobs/{job}")).json()["state"] == "queued"


async def test_the_same_picture_is_each_owners_own(use: Use, png: bytes, backstage: Backstage) -> None:
    ann, bob = use("ann"), use("bob")
    image = (await ann.post("/images", content=png)).json()["id"]
    again = await bob.post("/images", content=png)
    # Not even that somebody else has it can be seen.
    assert (again.status_code, again.json()["created"]) == (201, True)
    job = (await ann.post("/jobs", json={"image_id": image, "task": "gcg"})).json()["id"]
    assert (await bob.delete(f"/images/{image}")).status_code == 204
    assert (await ann.get(f"/images/{image}")).status_code == 200
    assert (await ann.get(f"/jobs/{job}")).json()["state"] == "queued"
    assert len(backstage.contents().objects) == 1


async def test_keys_are_made_listed_and_revoked_over_http(
    use: Use, backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "REMEMBERED_SECONDS", 0.0)
    admin = use("ops", Scope.ADMIN)
    made = await admin.post("/keys", json={"owner": "bob", "scopes": ["read"], "name": "laptop"})
    assert made.status_code == 201
    secret = made.json()["secret"]
    assert secret.startswith("glamm_")
    bob = use(secret=secret)
    assert (await bob.get(f"/jobs/{NOWHERE}")).status_code == 404
    listed = (await admin.get("/keys")).json()["keys"]
    assert listed[0]["hint"] == secret[:10]
    assert [(key["owner"], key["name"], key["scopes"]) for key in listed] == [
        ("bob", "laptop", ["read"]),
        ("ops", "", ["admin"]),
    ]
    assert listed[0]["last_used_at"]
    assert secret not in str(listed)
    with backstage.engine.connect() as connection:
        (stored,) = connection.exec_driver_sql(
            "SELECT secret_sha256 FROM api_keys JOIN owners ON owners.id = owner_id WHERE owners.name = 'bob'"
        ).one()
    assert bytes(stored) == access.digest(secret)
    assert (await admin.delete(f"/keys/{made.json()['id']}")).status_code == 200
    assert (await bob.get(f"/jobs/{NOWHERE}")).status_code == 401
    assert (await admin.delete(f"/keys/{NOWHERE}")).status_code == 404


async def test_keys_come_in_pages(use: Use) -> None:
    admin = use("ops", Scope.ADMIN)
    for owner in ("ann", "bob", "cyd", "dan"):
        assert (await admin.post("/keys", json={"owner": owner, "scopes": ["read"]})).status_code == 201
    pages: list[list[str]] = []
    query: dict[str, Any] = {"limit": 2}
    while query.get("cursor", "") is not None:
        page = (await admin.get("/keys", params=query)).json()
        pages.append([key["owner"] for key in page["keys"]])
        query["cursor"] = page["next"]
    assert pages == [["dan", "cyd"], ["bob", "ann"], ["ops"]]
    for wrong in ("limit=0", "limit=201", "cursor=second"):
        assert (await admin.get(f"/keys?{wrong}")).status_code == 422


async def test_a_key_ends_at_its_time(use: Use, backstage: Backstage) -> None:
    client = use("ann")
    with backstage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE api_keys SET expires_at = now() - interval '1 second'")
    assert (await client.get(f"/jobs/{NOWHERE}")).status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["read"]}, "owner"),
        ({"owner": "bob"}, "scopes"),
        ({"owner": "bob", "scopes": []}, "scopes"),
        ({"owner": "bob", "scopes": ["fly"]}, "scopes[0]"),
        ({"owner": "a/b", "scopes": ["read"]}, "owner"),
        ({"owner": "bob", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"owner": "bob", "scopes": ["read"], "colour": "red"}, "colour"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(
    use: Use, backstage: Backstage, body: dict[str, Any], field: str
) -> None:
    answer = await use("ops", Scope.ADMIN).post("/keys", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    with backstage.engine.connect() as connection:
        assert len(access.keys_page(connection, None, 10)) == 1


async def test_an_owner_that_sends_too_much_is_told_when_to_come_back(use: Use, backstage: Backstage) -> None:
    client, other = use("ann"), use("bob")
    with backstage.engine.begin() as connection:
        assert access.set_limits(connection, "ann", OwnerLimits(requests_per_minute=3))
    answers = [await client.get(f"/jobs/{NOWHERE}") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"owner";q=3;w=60'}
    assert answers[3].json()["field"] == "requests_per_minute"
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20
    assert (await other.get(f"/jobs/{NOWHERE}")).status_code == 404


async def test_what_a_key_may_not_do_counts_as_well(use: Use, backstage: Backstage) -> None:
    reader = use("ann", Scope.READ)
    with backstage.engine.begin() as connection:
        assert access.set_limits(connection, "ann", OwnerLimits(requests_per_minute=2))
    answers = [await reader.delete(f"/images/{'0' * 64}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [403, 403, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=1", "r=0", "r=0"]


async def test_an_owner_may_store_and_queue_so_much(use: Use, backstage: Backstage, png: bytes, photo: bytes) -> None:
    admin, ann = use("ops", Scope.ADMIN), use("ann")
    limits = {"requests_per_minute": None, "stored_bytes": len(png) + 1, "queued_jobs": 1}
    assert (await admin.put("/owners/ann/limits", json=limits)).json() == limits
    assert (await admin.put("/owners/nobody/limits", json=limits)).status_code == 404
    image = (await ann.post("/images", content=png)).json()["id"]
    full = await ann.post("/images", content=photo)
    assert (full.status_code, full.json()["field"]) == (429, "stored_bytes")
    assert "retry-after" not in full.headers
    assert (await ann.post("/images", content=png)).status_code == 200
    assert (await ann.post("/jobs", json={"image_id": image, "task": "gcg"})).status_code == 202
    full = await ann.post("/jobs", json={"image_id": image, "task": "gcg"})
    assert (full.status_code, full.json()["field"]) == (429, "queued_jobs")
    assert full.headers["retry-after"] == "2"
    contents = backstage.contents()
    assert (contents.images, contents.jobs, len(contents.objects)) == (1, 1, 1)


async def test_what_an_owner_may_take_and_has_taken_is_shown(use: Use, settings: Settings, png: bytes) -> None:
    admin, ann = use("ops", Scope.ADMIN), use("ann")
    image = (await ann.post("/images", content=png)).json()["id"]
    declared = {"sha256": "0" * 64, "bytes": 1000, "media_type": "image/png"}
    assert (await ann.post("/images/uploads", json={"images": [declared]})).status_code == 200
    for _ in range(2):
        assert (await ann.post("/jobs", json={"image_id": image, "task": "gcg"})).status_code == 202
    used = {"stored_bytes": len(png) + 1000, "queued_jobs": 2}
    none = {"requests_per_minute": None, "stored_bytes": None, "queued_jobs": None}
    in_force = {**none, "requests_per_minute": settings.requests_per_minute}
    shown = (await admin.get("/owners/ann/limits")).json()
    assert shown == {"owner": "ann", "own": none, "in_force": in_force, "used": used}
    own = {**none, "queued_jobs": 0}
    assert (await admin.put("/owners/ann/limits", json=own)).status_code == 200
    shown = (await admin.get("/owners/ann/limits")).json()
    assert shown == {"owner": "ann", "own": own, "in_force": {**in_force, "queued_jobs": 0}, "used": used}
    assert (await admin.get("/owners/ops/limits")).json()["used"] == {"stored_bytes": 0, "queued_jobs": 0}


async def test_limits_of_the_service_hold_where_an_owner_has_none(
    settings: Settings, backstage: Backstage, png: bytes
) -> None:
    set_by_the_service = settings.model_copy(update={"max_stored_bytes": 10**9, "max_queued_jobs": 1})
    app = create_app(set_by_the_service)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as local,
    ):
        in_force = (await local.get("/owners/local/limits")).json()["in_force"]
        assert in_force == {
            "requests_per_minute": settings.requests_per_minute,
            "stored_bytes": 10**9,
            "queued_jobs": 1,
        }
        job = {"image_id": (await local.post("/images", content=png)).json()["id"], "task": "gcg"}
        assert [(await local.post("/jobs", json=job)).status_code for _ in range(2)] == [202, 429]


async def test_limits_are_shown_to_admins_and_of_owners_that_there_are(use: Use) -> None:
    admin, ann = use("ops", Scope.ADMIN), use("ann")
    assert (await ann.get("/owners/ann/limits")).status_code == 403
    unknown = await admin.get("/owners/nobody/limits")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:glamm:problem:not-found")
