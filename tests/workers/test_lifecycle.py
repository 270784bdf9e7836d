"""One message in one worker, against real servers and a real (tiny) model: what each end of a run leaves behind."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
import redis
import torch
from celery import Celery
from sqlalchemy import text

from shared import jobs
from shared.errors import NotFound
from shared.features import GLOBAL, SAM, FeatureStore
from shared.images import decode
from shared.jobs import Message, NewJob, Outcome, Stage, State
from shared.model.checkpoint import fingerprint
from shared.objects import key_of
from shared.queue import celery_app, send
from shared.settings import Settings
from shared.stages.glamm import Annotation, Glamm
from shared.stages.vision import VisionStage
from shared.tasks import Ask, Task
from shared.transactions import Transactions
from tests.workers.harness import SECONDS, Place, flush, receive
from workers.ears import Ears
from workers.leases import Leases
from workers.lifecycle import Lifecycle
from workers.process import open_station
from workers.station import Station, feature_store
from workers.vision.work import Encoded, VisionWork


class Bench:
    """The parts of a worker process without its Celery consumer: messages are handed to it by the test."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.app: Celery = celery_app(place.settings.broker_url)
        self.transactions = Transactions(place.database, patience=5)
        self.leases = Leases(self.transactions, timedelta(seconds=place.settings.lease_seconds), longest=60)
        self.stations: dict[Stage, Station] = {}

    def station(self, stage: Stage) -> Station:
        if stage not in self.stations:
            self.stations[stage] = open_station(stage, self.place.settings)
        return self.stations[stage]

    def lifecycle(self, stage: Stage, settings: Settings | None = None, **replaced: Any) -> Lifecycle[Any, Any, Any]:
        station = self.station(stage)
        return Lifecycle(
            replaced.get("work", station.work),
            replaced.get("engine", station.engine),
            self.leases,
            self.transactions,
            partial(send, self.app),
            settings or self.place.settings,
            "bench",
        )

    def handle(self, message: Message | None) -> Message | None:
        """Handle a message; the message that comes of it, if any."""
        assert message is not None
        self.lifecycle(message.stage).handle(message)
        return self.next()

    def next(self) -> Message | None:
        for stage in Stage:
            if (message := receive(self.app, stage)) is not None:
                return message
        return None


@pytest.fixture
def bench(place: Place) -> Iterator[Bench]:
    bench = Bench(place)
    yield bench
    for station in bench.stations.values():
        station.engine.drain(20)


@pytest.fixture
def start(place: Place) -> Callable[..., Message]:
    """`start()`: a new job on a new image, admitted; its first message."""

    def start(seed: int = 0) -> Message:
        place.submit(place.upload(place.picture(seed)))
        return place.admit()[-1]

    return start


def outcomes(place: Place, message: Message) -> list[tuple[Stage, Outcome]]:
    return [(run.stage, run.outcome) for run in place.view(message.job_id).stages]


def test_each_stage_hands_the_job_on(place: Place, bench: Bench, start: Callable[..., Message]) -> None:
    first = start()
    second = bench.handle(first)
    assert second == Message(first.job_id, Stage.LLM, 0, urgent=True)
    third = bench.handle(second)
    assert third == Message(first.job_id, Stage.PIXEL, 0, urgent=True)
    assert bench.handle(third) is None
    view = place.succeeded(first.job_id)
    assert outcomes(place, first) == [(stage, Outcome.COMPLETED) for stage in Stage]
    assert all(run.timing is not None and run.timing.engine_ms > 0 for run in view.stages)
    assert [run.worker for run in view.stages] == ["bench"] * 3


def test_a_message_that_comes_twice_does_its_work_once(
    place: Place, bench: Bench, start: Callable[..., Message]
) -> None:
    first = start()
    second = bench.handle(first)
    assert bench.handle(first) is None
    third = bench.handle(second)
    assert bench.handle(second) is None
    assert bench.handle(first) is None
    assert bench.handle(third) is None
    assert bench.handle(third) is None
    assert outcomes(place, first) == [(stage, Outcome.COMPLETED) for stage in Stage]


def test_a_second_job_on_an_image_finds_it_encoded(place: Place, bench: Bench, start: Callable[..., Message]) -> None:
    first = start()
    second = place.submit(place.view(first.job_id).image.id)
    for message in (first, *place.admit()):
        bench.handle(message)
    assert [place.view(job_id).stages[0].cached for job_id in (first.job_id, second)] == [False, True]


BOX, OTHER = ((3.0, 4.0, 50.0, 40.0),), ((1.0, 1.0, 30.0, 30.0), (20.0, 10.0, 60.0, 50.0))


def finish(bench: Bench, message: Message | None) -> None:
    while message is not None:
        message = bench.handle(message)


def take_turn(place: Place, bench: Bench, conversation: UUID, ask: Ask) -> jobs.JobView:
    image_id = place.conversation(conversation).image.id
    with place.database.begin() as conn:
        job_id = jobs.add_turn(conn, conversation, NewJob(image_id, ask))
    finish(bench, place.admit()[-1])
    return place.succeeded(job_id)


def test_a_conversation_encodes_its_image_once_whatever_boxes_come_later(place: Place, bench: Bench) -> None:
    picture = place.picture()
    image_id = place.upload(picture)
    with place.database.begin() as conn:
        conversation = jobs.begin(conn, image_id)
    asks = [
        Ask(Task.GCG),
        Ask(Task.REGION_CAPTION, boxes=OTHER),
        Ask(Task.VQA, "What is <box1>?", BOX),
        Ask(Task.CAPTION),
    ]
    turns = [take_turn(place, bench, conversation, ask) for ask in asks]
    assert [turn.stages[0].cached for turn in turns] == [False, True, True, True]
    assert [turn.turn for turn in turns] == [1, 2, 3, 4]
    # Boxes cost the region encoder; without new ones nothing runs at all.
    ran = [turn.stages[0].timing is not None and turn.stages[0].timing.engine_ms > 0 for turn in turns]
    assert ran == [True, True, True, False]
    glamm = Glamm.load(place.settings.checkpoint)
    glamm.llm.max_new_tokens = place.settings.max_new_tokens
    history: list[tuple[Ask, Annotation]] = []
    for ask, turn in zip(asks, turns, strict=True):
        expected = glamm.annotate(decode(picture), ask, history)
        assert turn.result is not None
        assert tuple(answer.raw_text for answer in turn.result.answers) == expected.raw_texts
        found = [phrase.rle for phrase in turn.result.phrases]
        assert found == [phrase.rle for answer in expected.answers for phrase in answer.phrases]
        history.append((ask, expected))


def test_a_conversation_outlives_its_features(place: Place, bench: Bench) -> None:
    with place.database.begin() as conn:
        conversation = jobs.begin(conn, place.upload(place.picture()))
    take_turn(place, bench, conversation, Ask(Task.VQA, "What is this?", BOX))
    flush(place.settings.features_url)
    later = take_turn(place, bench, conversation, Ask(Task.CAPTION))
    assert not later.stages[0].cached
    assert place.conversation(conversation).turns[-1] == later.id


@pytest.mark.parametrize("stage", [Stage.LLM, Stage.PIXEL])
def test_features_that_have_gone_send_the_job_back_to_vision(
    place: Place, bench: Bench, start: Callable[..., Message], stage: Stage
) -> None:
    message = start()
    while message.stage is not stage:
        following = bench.handle(message)
        assert following is not None
        message = following
    flush(place.settings.features_url)
    back = bench.handle(message)
    assert back == Message(message.job_id, Stage.VISION, 0, urgent=True)
    following = back
    while following is not None:
        following = bench.handle(following)
    place.succeeded(message.job_id)
    assert (stage, Outcome.REWOUND) in outcomes(place, message)
    # What the language model said is kept: it never speaks twice.
    assert outcomes(place, message).count((Stage.LLM, Outcome.COMPLETED)) == 1


def test_features_that_go_every_time_fail_the_job_in_the_end(
    place: Place, bench: Bench, start: Callable[..., Message]
) -> None:
    message: Message | None = start()
    assert message is not None
    job_id = message.job_id
    while message is not None:
        if message.stage is Stage.LLM:
            flush(place.settings.features_url)
        message = bench.handle(message)
    error = place.view(job_id).error
    assert error is not None
    assert error.problem.type == "urn:glamm:problem:features-lost"
    assert place.view(job_id).stages[-1].rewind == place.settings.max_rewinds


def test_a_run_whose_lease_was_lost_writes_nothing(place: Place, bench: Bench, start: Callable[..., Message]) -> None:
    message = start()

    class Robbed(VisionWork):
        """The sweep takes the job after the engine is done with it, and another worker starts it."""

        def keep(self, run: jobs.Run, output: Encoded) -> None:
            with place.database.begin() as conn:
                conn.execute(text("UPDATE jobs SET lease_expires_at = now() - interval '1 s'"))
                (resent,) = jobs.sweep(conn, timedelta(hours=1), 3).resend
                assert jobs.enter(conn, resent, "another", timedelta(hours=1)) is not None
            super().keep(run, output)

    stage = VisionStage.load(place.settings.checkpoint, torch.device("cpu"))
    robbed = Robbed(stage, place.objects, feature_store(place.settings), place.settings)
    bench.lifecycle(Stage.VISION, work=robbed).handle(message)
    assert bench.next() is None
    assert outcomes(place, message) == [(Stage.VISION, Outcome.LOST), (Stage.VISION, Outcome.RUNNING)]
    assert place.view(message.job_id).state is State.VISION


def test_a_cancelled_job_leaves_the_engine_with_the_next_beat(
    place: Place, bench: Bench, start: Callable[..., Message]
) -> None:
    message: Message | None = start()
    message = bench.handle(message)
    assert message is not None
    endless = place.settings.model_copy(update={"max_new_tokens": 16_000})
    bench.place = Place(endless, place.database)
    handling = threading.Thread(target=bench.lifecycle(Stage.LLM).handle, args=(message,))
    handling.start()
    engine = bench.station(Stage.LLM).engine
    while not engine.busy:
        time.sleep(0.001)
    bench.leases.renew()
    assert engine.busy
    with place.database.begin() as conn:
        assert jobs.cancel(conn, message.job_id)
    bench.leases.renew()
    handling.join(30)
    assert not handling.is_alive()
    assert outcomes(place, message)[-1] == (Stage.LLM, Outcome.CANCELED)


class Halted:
    """A core that stands still in one of its steps until it is let go, and counts them."""

    def __init__(self, core: Any, at: int) -> None:
        self.core, self._at = core, at
        self.steps = 0
        self.reached, self.go = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)

    def step(self) -> Any:
        self.steps += 1
        if self.steps == self._at:
            self.reached.set()
            assert self.go.wait(SECONDS)
        return self.core.step()


def test_a_canceled_job_takes_part_in_no_further_step_of_the_language_model(
    place: Place, bench: Bench, start: Callable[..., Message]
) -> None:
    message = bench.handle(start())
    assert message is not None
    bench.place = Place(place.settings.model_copy(update={"max_new_tokens": 16_000}), place.database)
    engine: Any = bench.station(Stage.LLM).engine
    engine._core = halted = Halted(engine._core, at=5)
    ears = Ears(place.settings.database_url, bench.leases)
    handling = threading.Thread(target=bench.lifecycle(Stage.LLM).handle, args=(message,))
    handling.start()
    assert halted.reached.wait(SECONDS)
    with place.database.begin() as conn:
        assert jobs.cancel(conn, message.job_id)
    handling.join(30)
    assert not handling.is_alive()
    assert len(halted.core) == 1
    halted.go.set()
    while engine.busy:
        time.sleep(0.001)
    assert (len(halted.core), halted.steps) == (0, 5)
    assert outcomes(place, message)[-1] == (Stage.LLM, Outcome.CANCELED)
    ears.close()


def test_an_image_that_cannot_be_read_fails_its_job_alone_and_after_three_attempts(
    place: Place, bench: Bench, start: Callable[..., Message]
) -> None:
    poisoned, sound = start(1), start(2)
    image = place.view(poisoned.job_id).image
    place.objects.delete(image.object_key)
    place.objects.put(key_of(image.id), b"\x89PNG\r\n\x1a\n and nothing more", "image/png")
    following: Message | None = poisoned
    attempts = 0
    while following is not None:
        attempts += 1
        following = bench.handle(following)
    assert attempts == 3
    failed = place.view(poisoned.job_id)
    assert failed.state is State.FAILED
    assert failed.error is not None
    assert failed.error.problem.type == "urn:glamm:problem:stage-failed"
    assert "UnidentifiedImageError" in failed.error.problem.detail
    assert (failed.error.stage, failed.error.attempt) == (Stage.VISION, 3)
    following = sound
    while following is not None:
        following = bench.handle(following)
    place.succeeded(sound.job_id)


def test_an_image_that_is_gone_fails_its_job_at_once(place: Place, bench: Bench, start: Callable[..., Message]) -> None:
    message = start()
    image = place.view(message.job_id).image
    place.objects.delete(key_of(image.id))
    assert bench.handle(message) is None
    error = place.view(message.job_id).error
    assert error is not None
    assert error.problem.type == f"urn:glamm:problem:{NotFound.type_slug}"
    assert error.problem.detail == f"The image {image.id} was deleted before the job could read it."
    assert error.problem.remedy == "Send the image again, then submit the job again."
    assert error.attempt == 1


def test_an_outage_costs_no_attempt(place: Place, bench: Bench, start: Callable[..., Message]) -> None:
    message = start()
    work: Any = bench.station(Stage.VISION).work
    reachable = work._features
    work._features = FeatureStore("redis://127.0.0.1:1/0", "model", timedelta(hours=1))
    assert bench.handle(message) is None
    view = place.view(message.job_id)
    assert view.state is State.VISION
    assert outcomes(place, message) == [(Stage.VISION, Outcome.GIVEN_BACK)]
    work._features = reachable
    with place.database.begin() as conn:
        swept = jobs.sweep(conn, timedelta(0), 3)
    assert swept.resend == [message]
    assert bench.handle(message) == Message(message.job_id, Stage.LLM, 0, urgent=True)


def test_a_closing_worker_takes_up_nothing(place: Place, bench: Bench, start: Callable[..., Message]) -> None:
    message = start()
    lifecycle = bench.lifecycle(Stage.VISION)
    lifecycle.close()
    lifecycle.handle(message)
    assert bench.next() == message
    assert outcomes(place, message) == []


def test_a_drained_engine_gives_its_jobs_back(place: Place, bench: Bench, start: Callable[..., Message]) -> None:
    message = start()
    bench.station(Stage.VISION).engine.drain(0)
    assert bench.handle(message) == message
    assert outcomes(place, message) == [(Stage.VISION, Outcome.GIVEN_BACK)]


def test_a_stage_that_takes_too_long_is_tried_again_and_says_so(
    place: Place, bench: Bench, start: Callable[..., Message]
) -> None:
    message = bench.handle(start())
    assert message is not None
    bench.place = Place(place.settings.model_copy(update={"max_new_tokens": 16_000}), place.database)
    bench.leases = Leases(bench.transactions, timedelta(seconds=60), longest=0.1)
    finish(bench, message)
    error = place.view(message.job_id).error
    assert error is not None
    assert error.problem.type == "urn:glamm:problem:stage-timed-out"
    assert outcomes(place, message)[1:] == [(Stage.LLM, Outcome.FAILED)] * 3


def test_a_broker_that_is_away_holds_up_no_result(place: Place, bench: Bench, start: Callable[..., Message]) -> None:
    message = start()
    bench.app = celery_app("redis://127.0.0.1:1/0")
    bench.lifecycle(Stage.VISION).handle(message)
    assert place.view(message.job_id).state is State.LLM
    with place.database.begin() as conn:
        assert jobs.sweep(conn, timedelta(0), 3).resend == [Message(message.job_id, Stage.LLM, 0, urgent=True)]


def test_features_are_stored_under_the_checkpoint_and_the_image(
    place: Place, bench: Bench, start: Callable[..., Message]
) -> None:
    message = start()
    bench.handle(message)
    store = FeatureStore(place.settings.features_url, fingerprint(place.settings.checkpoint), timedelta(hours=1))
    image_id = place.view(message.job_id).image.id
    assert store.get(image_id, [GLOBAL, SAM]).keys() == {GLOBAL, SAM}
    with redis.Redis.from_url(place.settings.features_url) as client:
        assert len(client.keys("*")) == 2
