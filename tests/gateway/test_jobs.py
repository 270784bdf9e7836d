"""POST /jobs and GET /jobs/{id}: what goes in, and what a client sees on the way and at the end."""

import json
from dataclasses import replace
from hashlib import sha256
from uuid import UUID

import httpx
import pytest

from services.gateway.app import create_app
from shared import jobs, tables
from shared.errors import InvalidInput
from shared.jobs import Answer, Result, Stage
from shared.objects import key_of
from shared.schema import Job
from tests.gateway.conftest import Contents

pytestmark = pytest.mark.anyio


async def submit(api, image: bytes, **fields: str) -> Job:
    answer = await api.post("/jobs", files={"image": ("a.png", image, "image/png")}, data={"task": "gcg", **fields})
    assert answer.status_code == 202, answer.text
    return Job.model_validate_json(answer.content)


async def see(api, job_id: UUID) -> Job:
    answer = await api.get(f"/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    return Job.model_validate_json(answer.content)


async def test_a_job_on_a_stored_image_is_queued(api, backstage, png) -> None:
    image = (await api.post("/images", content=png)).json()
    request = {"task": "refseg", "expressions": ["the dog on the left", "a tree"]}
    answer = await api.post("/jobs", json={"image_id": image["id"], **request})
    assert answer.status_code == 202
    job = Job.model_validate_json(answer.content)
    assert answer.headers["Location"] == job.links.self == f"/jobs/{job.id}"
    assert (job.state, job.task, job.request.model_dump(), job.turn) == ("queued", "refseg", request, None)
    assert (job.queue_position, job.progress, job.stages, job.error, job.result) == (1, 0, [], None, None)
    assert job.image.model_dump() == {"id": image["id"], "width": 48, "height": 32, "media_type": "image/png"}
    assert await see(api, job.id) == job
    contents = backstage.contents()
    assert (contents.images, contents.jobs, contents.broker_keys) == (1, 1, 0)


async def test_an_image_may_come_with_its_job(api, backstage, png) -> None:
    job = await submit(api, png, prompt="Describe it.")
    image_id = sha256(png).hexdigest()
    assert (job.image.id, job.request.model_dump()) == (
        image_id,
        {"task": "gcg", "prompt": "Describe it.", "max_new_tokens": None},
    )
    assert backstage.objects.get(key_of(image_id)) == png


async def test_a_form_may_name_a_stored_image(api, png) -> None:
    image_id = (await api.post("/images", content=png)).json()["id"]
    answer = await api.post("/jobs", files={"task": (None, "caption"), "image_id": (None, image_id)})
    assert (answer.status_code, answer.json()["task"]) == (202, "caption")


async def test_boxes_are_pixels_of_the_upright_image(api, photo) -> None:
    boxes = [[0.0, 40.0, 32.0, 48.0]]
    job = await submit(api, photo, task="region_caption", boxes=json.dumps(boxes))
    assert job.request.model_dump(mode="json")["boxes"] == boxes
    assert (job.image.width, job.image.height) == (32, 48)


async def test_many_jobs_on_one_image_keep_it_once(api, backstage, png) -> None:
    seen = [await submit(api, png) for _ in range(3)]
    assert [job.queue_position for job in seen] == [1, 2, 3]
    contents = backstage.contents()
    assert (contents.images, contents.jobs, len(contents.objects)) == (1, 3, 1)


async def test_a_job_is_seen_on_its_way(api, backstage, png) -> None:
    job = await submit(api, png)
    backstage.start(job.id, Stage.VISION)
    running = await see(api, job.id)
    assert (running.state, running.queue_position, running.progress) == ("vision", None, 0)
    (run,) = running.stages
    assert (run.stage, run.attempt, run.worker, run.outcome) == ("vision", 1, "host:1", "running")
    assert (run.finished_at, run.engine_ms, run.total_ms) == (None, None, None)
    assert run.waited_ms >= 0


async def test_a_finished_job_carries_text_spans_masks_boxes_and_scores(api, backstage, png, result) -> None:
    job = await submit(api, png)
    backstage.succeed(job.id, result)
    done = await see(api, job.id)
    assert (done.state, done.progress, done.error) == ("succeeded", 1, None)
    assert done.finished_at is not None
    assert [(run.stage, run.outcome, run.cached) for run in done.stages] == [
        ("vision", "completed", True),
        ("llm", "completed", False),
        ("pixel", "completed", False),
    ]
    assert [(run.fetch_ms, run.engine_wait_ms, run.engine_ms, run.store_ms) for run in done.stages] == [
        (1, 2, 3, 4),
        (5, 6, 7, 8),
        (9, 10, 11, 12),
    ]
    assert done.result is not None
    assert (done.result.text, done.result.model) == (result.text, "weights-1")
    ball, grass = done.result.phrases
    assert (ball.n, ball.text, ball.span, ball.box, ball.area, ball.score) == (
        0, "A red ball", (0, 10), (10, 4, 30, 12), 160, 0.9
    )  # fmt: skip
    assert (ball.mask.size, ball.mask.counts) == ((32, 48), result.phrases[0].rle.counts)
    assert (grass.n, grass.span, grass.box) == (1, (19, 24), None)
    assert ball.mask_url == f"/jobs/{job.id}/masks/0.png"
    assert done.result.overlay_url == done.links.overlay == f"/jobs/{job.id}/overlay.png"


async def test_each_expression_has_its_answer_and_its_masks(api, backstage, png, result) -> None:
    """The second expression is not in the image: an answer without a mask."""
    expressions = ["the ball", "the dog", "the grass"]
    job = await submit(api, png, task="refseg", expressions=json.dumps(expressions))
    ball, grass = (replace(phrase, span=None) for phrase in result.phrases)
    answers = (
        Answer("Sure, it is.", "Sure, it is [SEG].", (ball,)),
        Answer("There is no dog.", "There is no dog."),
        Answer("It is here.", "It is <p> here </p> [SEG].", (replace(grass, span=(6, 10)),)),
    )
    backstage.succeed(job.id, Result(answers, "weights-1"))
    done = (await see(api, job.id)).result
    assert done is not None
    assert done.text == "Sure, it is.\nThere is no dog.\nIt is here."
    assert [(answer.expression, answer.box, answer.phrases) for answer in done.answers] == [
        ("the ball", None, [0]),
        ("the dog", None, []),
        ("the grass", None, [1]),
    ]
    assert [done.text[slice(*answer.span)] for answer in done.answers] == [answer.text for answer in answers]
    assert done.phrases[0].span is None
    assert done.phrases[1].span is not None
    assert done.text[slice(*done.phrases[1].span)] == "here"


async def test_each_region_has_its_description(api, backstage, png) -> None:
    boxes = [[0.0, 0.0, 9.0, 9.0], [10.0, 10.0, 40.0, 30.0]]
    job = await submit(api, png, task="region_caption", boxes=json.dumps(boxes))
    backstage.succeed(job.id, Result((Answer("A dog.", "A dog."), Answer("A tree.", "A tree.")), "weights-1"))
    done = (await see(api, job.id)).result
    assert done is not None
    assert [(answer.text, list(answer.box or ())) for answer in done.answers] == [
        ("A dog.", boxes[0]),
        ("A tree.", boxes[1]),
    ]


async def test_a_failed_job_says_why_and_where(api, backstage, png) -> None:
    job = await submit(api, png)
    run = backstage.start(job.id, Stage.VISION)
    backstage.fail(run, InvalidInput("image", "The image is odd.", "Send another.").to_problem())
    failed = await see(api, job.id)
    assert (failed.state, failed.result, failed.links.overlay) == ("failed", None, None)
    assert failed.error is not None
    assert failed.error.type == "urn:glamm:problem:invalid-input"
    assert (failed.error.detail, failed.error.remedy) == ("The image is odd.", "Send another.")
    assert (failed.error.stage, failed.error.attempt) == ("vision", 1)


async def test_a_canceled_job_is_seen_as_that(api, backstage, png) -> None:
    job = await submit(api, png)
    backstage.cancel(job.id)
    canceled = await see(api, job.id)
    assert (canceled.state, canceled.error, canceled.result) == ("canceled", None, None)


async def test_a_job_whose_transaction_fails_leaves_its_image_whole(api, backstage, png) -> None:
    """It counts as stored, and whoever sent it may delete it: bytes without a row nobody would find."""
    with backstage.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs ADD CONSTRAINT none_of_these CHECK (task <> 'gcg')")
    answer = await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})
    assert answer.status_code == 500
    contents = backstage.contents()
    assert (contents.images, contents.jobs) == (1, 0)
    image_id = sha256(png).hexdigest()
    assert contents.objects == (key_of(image_id),)
    assert (await api.delete(f"/images/{image_id}")).status_code == 204
    assert backstage.contents().objects == ()


async def test_a_job_too_many_leaves_nothing(settings, backstage, png) -> None:
    app = create_app(settings.model_copy(update={"max_queued_jobs": 0}))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as api:
        refused = await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})
    assert (refused.status_code, refused.json()["field"]) == (429, "queued_jobs")
    assert "retry-after" not in refused.headers
    assert backstage.contents() == Contents()


async def test_an_image_that_the_object_store_does_not_take_leaves_no_row(api, app, backstage, png) -> None:
    app.state.gateway.objects._bucket = "no-such-bucket"
    answer = await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:glamm:problem:unavailable")
    assert answer.headers["Retry-After"]
    contents = backstage.contents()
    assert (contents.images, contents.jobs, contents.objects) == (0, 0, ())


async def test_urls_stand_under_the_path_of_a_proxy(app, png) -> None:
    transport = httpx.ASGITransport(app, root_path="/glamm")
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as api:
        answer = await api.post("/glamm/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})
    assert answer.headers["Location"] == answer.json()["links"]["self"] == f"/glamm/jobs/{answer.json()['id']}"


async def test_the_job_that_is_queued_is_the_one_that_was_asked_for(api, backstage, photo) -> None:
    job = await submit(api, photo, task="region_caption", boxes="[[1, 2, 3.5, 4]]")
    with backstage.engine.connect() as connection:
        row = connection.execute(tables.jobs.select()).one()
        view = jobs.get(connection, job.id)
    assert view is not None
    assert (row.id, row.task, row.inputs, row.priority) == (job.id, "region_caption", {"boxes": [[1, 2, 3.5, 4]]}, 10)
    assert (view.expires_at - view.created_at).days == 7


async def test_how_long_its_answers_may_be_is_kept_and_shown(api, backstage, png) -> None:
    job = await submit(api, png, task="vqa", question="What is this?", max_new_tokens="7")
    assert job.request.model_dump()["max_new_tokens"] == 7
    with backstage.engine.connect() as connection:
        assert connection.execute(tables.jobs.select()).one().inputs == {
            "prompt": "What is this?",
            "max_new_tokens": 7,
        }
    for task, wrong in (("vqa", 0), ("vqa", 1.5), ("refseg", 7)):
        body = {"image_id": job.image.id, "task": task, "max_new_tokens": wrong}
        body |= {"question": "What?"} if task == "vqa" else {"expressions": ["a ball"]}
        answer = await api.post("/jobs", json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, "max_new_tokens")
        assert answer.json()["remedy"]


async def test_a_job_has_its_time_and_its_priority(api, backstage, png) -> None:
    usual = await submit(api, png)
    assert ((usual.expires_at - usual.created_at).total_seconds(), usual.priority) == (7 * 24 * 3600, "interactive")
    assert (await submit(api, png, priority="bulk")).queue_position == 2
    urgent = await submit(api, png, expires_in="90.5", priority="interactive")
    assert ((urgent.expires_at - urgent.created_at).total_seconds(), urgent.queue_position) == (90.5, 2)
    body = {"image_id": urgent.image.id, "task": "gcg", "expires_in": 60, "priority": "bulk"}
    answer = await api.post("/jobs", json=body)
    bulk = await see(api, answer.json()["id"])
    assert ((bulk.expires_at - bulk.created_at).total_seconds(), bulk.priority) == (60, "bulk")
    assert bulk.request.model_dump() == {"task": "gcg", "prompt": None, "max_new_tokens": None}
    with backstage.engine.connect() as connection:
        ranks = connection.execute(tables.jobs.select().order_by(tables.jobs.c.created_at)).all()
    assert [row.priority for row in ranks] == [10, 0, 10, 0]


async def test_a_turn_has_its_time_and_its_priority_too(api, png) -> None:
    image_id = (await api.post("/images", content=png)).json()["id"]
    begun = (await api.post("/conversations", json={"image_id": image_id})).json()
    body = {"task": "caption", "expires_in": 60, "priority": "bulk"}
    turn = Job.model_validate_json((await api.post(f"/conversations/{begun['id']}/turns", json=body)).content)
    assert ((turn.expires_at - turn.created_at).total_seconds(), turn.priority) == (60, "bulk")
