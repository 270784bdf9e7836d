"""ETag and If-None-Match: what a client knows already is not sent again, and what is new always is."""

from uuid import UUID

import httpx
import pytest
from sqlalchemy import event

from shared import jobs
from shared.jobs import Stage
from tests.gateway.conftest import LEASE

pytestmark = pytest.mark.anyio


@pytest.fixture
async def job_id(api, png) -> UUID:
    return UUID((await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})).json()["id"])


async def test_every_move_of_a_job_is_seen(api, app, backstage, job_id, result) -> None:
    tags: list[str] = []

    async def changed() -> None:
        """The known tags are all old, and the new one is good until the job moves again."""
        known = {"If-None-Match": ", ".join(tags)} if tags else {}
        new = await api.get(f"/jobs/{job_id}", headers=known)
        assert new.status_code == 200
        assert new.headers["ETag"] not in tags
        tags.append(new.headers["ETag"])
        for query in ("", "?wait=0.001"):
            same = await api.get(f"/jobs/{job_id}{query}", headers={"If-None-Match": tags[-1]})
            assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tags[-1])
            assert same.headers["Cache-Control"] == new.headers["Cache-Control"] == "private, no-cache"

    await changed()
    for _ in range(2):
        # The same stage and the same attempt as before, and one more line in the history.
        run = backstage.start(job_id, Stage.VISION)
        await changed()
        with backstage.engine.begin() as connection:
            assert jobs.renew(connection, [run.token], LEASE) == {run.token}
        assert (await api.get(f"/jobs/{job_id}", headers={"If-None-Match": tags[-1]})).status_code == 304
        with backstage.engine.begin() as connection:
            assert jobs.give_back(connection, run)
        await changed()
    backstage.encode(job_id)
    await changed()
    run = backstage.start(job_id, Stage.LLM)
    await changed()
    backstage.finish(run, result)
    await changed()


async def test_a_place_in_the_queue_is_news(api, backstage, png, job_id) -> None:
    behind = (await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})).json()["id"]
    tag = (await api.get(f"/jobs/{behind}")).headers["ETag"]
    backstage.cancel(job_id)
    moved = await api.get(f"/jobs/{behind}", headers={"If-None-Match": tag})
    assert (moved.status_code, moved.json()["queue_position"]) == (200, 1)


async def test_a_job_that_is_known_or_was_written_before_costs_one_row(api, app, backstage, job_id, result) -> None:
    backstage.succeed(job_id, result)
    first = await api.get(f"/jobs/{job_id}")
    statements: list[str] = []

    def note(_connection, _cursor, statement, *_) -> None:
        if statement.startswith("SELECT"):
            statements.append(statement)

    engine = app.state.gateway.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    known = await api.get(f"/jobs/{job_id}", headers={"If-None-Match": first.headers["ETag"]})
    again = await api.get(f"/jobs/{job_id}")
    event.remove(engine, "before_cursor_execute", note)
    assert known.status_code == 304
    assert (again.content, again.headers["ETag"]) == (first.content, first.headers["ETag"])
    assert [("FROM jobs" in statement, "JOIN" in statement) for statement in statements] == [(True, False)] * 2


async def test_links_are_those_of_the_proxy_that_asks(app, backstage, job_id, result) -> None:
    backstage.succeed(job_id, result)
    for root in ("", "/glamm"):
        transport = httpx.ASGITransport(app, root_path=root)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as through:
            for _ in range(2):
                assert (await through.get(f"{root}/jobs/{job_id}")).json()["links"]["self"] == f"{root}/jobs/{job_id}"


@pytest.mark.parametrize(
    ("known", "status"),
    [
        ("{}", 304),
        ('"other", {}', 304),
        ('W/"other",{} , "more"', 304),
        ("*", 304),
        ('W/"other"', 200),
        ("nonsense", 200),
        ("", 200),
    ],
)
async def test_if_none_match_may_name_several_or_anything(api, job_id, known: str, status: int) -> None:
    tag = (await api.get(f"/jobs/{job_id}")).headers["ETag"]
    for given in (tag, tag.removeprefix("W/")):
        answer = await api.get(f"/jobs/{job_id}", headers={"If-None-Match": known.format(given)})
        assert answer.status_code == status


async def test_an_unknown_job_is_not_found_whatever_is_known(api) -> None:
    path = "/jobs/0198c0de-0000-7000-8000-000000000000"
    assert (await api.get(path, headers={"If-None-Match": "*"})).status_code == 404


async def test_an_image_is_known_until_it_is_deleted(api, png) -> None:
    image_id = (await api.post("/images", content=png)).json()["id"]
    known = {"If-None-Match": (await api.get(f"/images/{image_id}")).headers["ETag"]}
    assert (await api.get(f"/images/{image_id}", headers=known)).status_code == 304
    await api.delete(f"/images/{image_id}")
    assert (await api.get(f"/images/{image_id}", headers=known)).status_code == 404


async def test_a_known_picture_is_not_drawn_again(api, backstage, job_id, result) -> None:
    backstage.succeed(job_id, result)
    paths = [f"/jobs/{job_id}/{name}" for name in ("masks/0.png", "masks/1.png", "overlay.png")]
    tags = [(await api.get(path)).headers["ETag"] for path in paths]
    assert len(set(tags)) == 3
    (key,) = backstage.contents().objects
    backstage.objects.delete(key)
    for path, tag in zip(paths, tags, strict=True):
        same = await api.get(path, headers={"If-None-Match": tag})
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
        assert "immutable" in same.headers["Cache-Control"]
    # A picture of a deleted image is shown to nobody, known or not.
    await api.delete(f"/images/{(await api.get(f'/jobs/{job_id}')).json()['image']['id']}")
    assert (await api.get(paths[-1], headers={"If-None-Match": tags[-1]})).status_code == 409
