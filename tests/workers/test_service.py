"""Worker processes and a scheduler on real servers: what befalls a worker or a server never befalls a job."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from shared import growing_text
from shared.images import decode
from shared.jobs import JobView, Outcome, Stage, State, cancel
from shared.stages.glamm import Glamm
from shared.tasks import Ask, Task
from tests.workers.conftest import StartWorker
from tests.workers.harness import REPOSITORY, SECONDS, Place, flush

ENDLESS = 16_000  # tokens: an answer that takes minutes, for a worker that is to be interrupted


def outcomes(view: JobView, stage: Stage) -> list[Outcome]:
    return [run.outcome for run in view.stages if run.stage is stage]


def in_llm(view: JobView) -> bool:
    return outcomes(view, Stage.LLM)[-1:] == [Outcome.RUNNING]


@pytest.mark.usefixtures("scheduler")
def test_the_service_says_what_the_model_says(place: Place, worker: StartWorker) -> None:
    started = worker("vision,llm,pixel")
    pictures = [place.picture(seed, 80, 60) for seed in range(6)]
    uploaded = [place.upload(picture) for picture in pictures]
    asks = [
        Ask(Task.GCG),
        Ask(Task.REFSEG, expressions=("the red corner", "a dog")),
        Ask(Task.REGION_CAPTION, boxes=((3.0, 4.0, 50.5, 40.0), (0.0, 0.0, 80.0, 60.0))),
        Ask(Task.CAPTION, "In a word?"),
        Ask(Task.VQA, "Is <box2> red?", ((3.0, 4.0, 50.5, 40.0), (0.0, 0.0, 80.0, 60.0))),
        Ask(Task.GROUND, "A red corner, and a dog.", phrases=("a red corner", "a dog")),
    ]
    submitted = [place.submit(image_id, ask) for image_id, ask in zip(uploaded, asks, strict=True)]
    glamm = Glamm.load(place.settings.checkpoint)
    glamm.llm.max_new_tokens = place.settings.max_new_tokens
    for job_id, picture, ask in zip(submitted, pictures, asks, strict=True):
        result = place.succeeded(job_id).result
        assert result is not None
        expected = glamm.annotate(decode(picture), ask)
        assert tuple(answer.raw_text for answer in result.answers) == expected.raw_texts
        for answer, same in zip(result.answers, expected.answers, strict=True):
            assert answer.text == same.text
            assert same.phrases
            assert [(p.text, p.span, p.rle, p.box, p.area) for p in answer.phrases] == [
                (p.text, p.span, p.rle, p.box, p.area) for p in same.phrases
            ]
            assert [p.score for p in answer.phrases] == pytest.approx([p.score for p in same.phrases])
        for event in ("stage.started", "stage.completed"):
            lines = [json.loads(line) for line in started.log.read_text().splitlines() if f'"{event}"' in line]
            assert {line["stage"] for line in lines if line["job_id"] == str(job_id)} == set(Stage)


@pytest.mark.usefixtures("scheduler")
def test_who_listens_reads_along(place: Place, worker: StartWorker) -> None:
    worker("vision,llm,pixel", max_new_tokens=600)
    image_id = place.upload(place.picture())
    heard: list[dict[int, str]] = []
    with (
        redis.Redis.from_url(place.settings.broker_url) as broker,
        broker.pubsub(ignore_subscribe_messages=True) as pubsub,
    ):
        job_id = place.submit(image_id, Ask(Task.REFSEG, expressions=("a", "b")))
        pubsub.subscribe(growing_text.channel(job_id))
        while not place.view(job_id).state.finished:
            message = pubsub.get_message(timeout=0.05)
            if message is not None:
                heard.append(growing_text.decode(message["data"]))
    result = place.succeeded(job_id).result
    assert result is not None
    assert {number for texts in heard for number in texts} == {0, 1}
    for number, answer in enumerate(result.answers):
        assert all(answer.text.startswith(texts[number]) for texts in heard if number in texts)


@pytest.mark.usefixtures("scheduler")
def test_a_job_survives_its_worker(place: Place, worker: StartWorker) -> None:
    doomed = worker("vision,llm", lease_seconds=1.5, heartbeat_seconds=0.3, max_new_tokens=ENDLESS)
    job_id = place.submit(place.upload(place.picture()))
    place.wait(job_id, in_llm)
    assert doomed.kill(signal.SIGKILL) == -signal.SIGKILL
    worker("llm,pixel")
    view = place.succeeded(job_id)
    assert outcomes(view, Stage.LLM) == [Outcome.LOST, Outcome.COMPLETED]
    assert len({run.worker for run in view.stages}) == 2


@pytest.mark.usefixtures("scheduler")
def test_a_worker_hears_that_its_job_was_canceled(place: Place, worker: StartWorker) -> None:
    """No lease is renewed while the test lasts, so nothing else tells it."""
    endless = worker("vision,llm", lease_seconds=4000, heartbeat_seconds=3000, max_new_tokens=ENDLESS)
    job_id = place.submit(place.upload(place.picture()))
    place.wait(job_id, in_llm)
    with place.database.begin() as conn:
        assert cancel(conn, job_id)
    endless.until("stage.canceled")
    assert endless.kill(signal.SIGTERM) == 0
    assert outcomes(place.view(job_id), Stage.LLM) == [Outcome.CANCELED]


@pytest.mark.usefixtures("scheduler")
def test_a_worker_that_is_told_to_stop_gives_its_jobs_back(place: Place, worker: StartWorker) -> None:
    leaving = worker("vision,llm", drain_seconds=0.2, max_new_tokens=ENDLESS)
    jobs = [place.submit(place.upload(place.picture(seed))) for seed in range(3)]
    for job_id in jobs:
        place.wait(job_id, in_llm)
    assert leaving.kill(signal.SIGTERM) == 0
    for job_id in jobs:
        assert outcomes(place.view(job_id), Stage.LLM) == [Outcome.GIVEN_BACK]
    worker("llm,pixel")
    for job_id in jobs:
        view = place.succeeded(job_id)
        # Given back and not lost: no attempt is gone and nobody waited for a lease or a sweep.
        assert outcomes(view, Stage.LLM) == [Outcome.GIVEN_BACK, Outcome.COMPLETED]
        assert [run.attempt for run in view.stages if run.stage is Stage.LLM] == [1, 1]


@pytest.mark.usefixtures("scheduler")
def test_a_worker_that_is_told_to_stop_finishes_what_it_can(place: Place, worker: StartWorker) -> None:
    leaving = worker("vision,llm", max_new_tokens=300, log_level="DEBUG")
    job_id = place.submit(place.upload(place.picture()))
    # A run that still fetches what it needs is given back; the engine finishes what it has begun.
    place.wait(job_id, lambda view: in_llm(view) and leaving.log.read_text().count("stage.in_engine") == 2)
    assert leaving.kill(signal.SIGTERM) == 0
    assert outcomes(place.view(job_id), Stage.LLM) == [Outcome.COMPLETED]


@pytest.mark.usefixtures("scheduler")
def test_an_emptied_broker_loses_nothing(place: Place, worker: StartWorker) -> None:
    place.settings = place.settings.model_copy(update={"resend_seconds": 1})
    jobs = [place.submit(place.upload(place.picture(seed))) for seed in range(6)]
    for job_id in jobs:
        place.wait(job_id, lambda view: view.state is State.VISION)
    flush(place.settings.broker_url)
    worker("vision,llm,pixel")
    for job_id in jobs:
        place.wait(job_id, lambda view: view.state in (State.VISION, State.LLM, State.PIXEL, State.SUCCEEDED))
    flush(place.settings.broker_url)
    for job_id in jobs:
        place.succeeded(job_id)


@pytest.mark.usefixtures("scheduler")
def test_a_poisonous_job_fails_and_the_others_go_on(place: Place, worker: StartWorker) -> None:
    uploaded = [place.upload(place.picture(seed)) for seed in range(4)]
    jobs = [place.submit(image_id) for image_id in uploaded]
    spoiled = place.view(jobs[1]).image
    place.objects.delete(spoiled.object_key)
    place.objects.put(spoiled.object_key, place.picture(1)[:60], "image/png")
    worker("vision,llm,pixel")
    for job_id in (jobs[0], *jobs[2:]):
        place.succeeded(job_id)
    failed = place.finished(jobs[1])
    assert failed.state is State.FAILED
    assert failed.error is not None
    assert failed.error.attempt == place.settings.max_attempts
    assert failed.error.problem.detail
    assert outcomes(failed, Stage.VISION) == [Outcome.FAILED] * 3


@pytest.mark.usefixtures("scheduler")
def test_a_hung_engine_ends_its_worker_and_not_its_jobs(place: Place, worker: StartWorker) -> None:
    hung = worker("vision", program="hanging", watchdog_seconds=1, heartbeat_seconds=0.1)
    job_id = place.submit(place.upload(place.picture()))
    assert hung.wait() == 1
    assert "engine.stalled" in hung.log.read_text()
    assert outcomes(place.view(job_id), Stage.VISION) == [Outcome.FAILED]
    worker("vision,llm,pixel")
    place.succeeded(job_id)


def test_a_worker_says_that_it_is_well(worker: StartWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe() -> int:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)}
        return subprocess.run([sys.executable, "-m", "workers.health"], env=environment, check=False).returncode

    assert probe() == 1
    running = worker("pixel", heartbeat_seconds=0.1)
    assert probe() == 0
    os.kill(running.pid, signal.SIGSTOP)
    deadline = time.monotonic() + SECONDS
    while probe() == 0:
        assert time.monotonic() < deadline
    os.kill(running.pid, signal.SIGCONT)
    assert running.kill(signal.SIGTERM) == 0
    assert probe() == 1


def test_a_worker_that_is_told_to_stop_while_it_imports_ends(tmp_path: Path) -> None:
    """Even inside a callback, where Python only prints what is raised and goes on."""
    told = "signal.raise_signal(signal.SIGTERM)"
    (tmp_path / "torch.py").write_text(
        f"import signal, weakref\nthing = set()\nlost = weakref.ref(thing, lambda _: {told})\ndel thing\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "workers", "--stages", "pixel"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stages", "vision,lmm"], "none of vision, llm, pixel"),
        (["--stages", "llm,llm"], "twice"),
        (["--stages", "llm", "--concurrency", "0"], "not a number above 0"),
        ([], "--stages"),
    ],
)
def test_wrong_arguments_are_explained(arguments: list[str], said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "workers", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert said in ended.stderr


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"checkpoint": "/nonexistent"}, "/nonexistent is no checkpoint"), ({"device": "cuda:77"}, "GLAMM_DEVICE")],
)
def test_a_worker_that_cannot_start_says_why(worker: StartWorker, setting: dict[str, str], said: str) -> None:
    hopeless = worker("pixel", until="process.not_started", **setting)
    assert hopeless.wait() == 2
    log = hopeless.log.read_text()
    assert said in log
    assert len(log.splitlines()) == 1
