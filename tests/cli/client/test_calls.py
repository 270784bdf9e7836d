"""The client against a server that misbehaves on purpose; against the real gateway it is tested in test_both.py."""

import json
import socket
from uuid import UUID

import pytest

from services.cli.client import GlammClient, Refused, Unreachable
from shared.errors import InvalidInput
from shared.tasks import Ask, Task

JOB = UUID("01900000-0000-7000-8000-000000000000")
Answer = tuple[int, dict[str, str], bytes]
BUSY = {"type": "urn:glamm:problem:overloaded", "title": "Overloaded", "status": 503, "detail": "Full."}


def as_json(status: int, value: object, **headers: str) -> Answer:
    return status, {"content-type": "application/json", **headers}, json.dumps(value).encode()


@pytest.fixture
def finished(job) -> Answer:
    return as_json(200, job().model_dump(mode="json"))


@pytest.fixture
def running(job) -> Answer:
    return as_json(200, job(state="llm", progress=0.4, finished_at=None).model_dump(mode="json"))


def test_a_problem_becomes_an_error_with_its_members(serve):
    problem = {
        "type": "urn:glamm:problem:invalid-input",
        "title": "Invalid input",
        "status": 422,
        "detail": "The prompt is empty.",
        "field": "prompt",
        "remedy": "Leave it out.",
    }
    server = serve(as_json(422, problem))
    with GlammClient(server.url) as client, pytest.raises(Refused) as caught:
        client.create_job("0" * 64, Ask(Task.GCG, " "))
    assert caught.value.to_problem().to_json() == problem
    assert caught.value.blames_the_request
    assert len(server.requests) == 1, "a refusal is not tried again"


def test_an_answer_from_something_else_is_a_problem_too(serve):
    server = serve((404, {"content-type": "text/html"}, b"<h1>nginx</h1>"))
    with GlammClient(server.url) as client, pytest.raises(Refused, match="404"):
        client.job(JOB)


def test_what_a_newer_service_adds_is_left_aside(serve, job):
    newer = job().model_dump(mode="json")
    newer["request"]["tone"] = newer["owner"] = newer["links"]["masks"] = "new"
    server = serve(as_json(200, newer))
    with GlammClient(server.url) as client:
        assert client.job(JOB) == job(created_at=newer["created_at"], finished_at=newer["finished_at"])


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (as_json(200, {"hello": "world"}), "no Job to glamm .*id: "),
        ((200, {"content-type": "text/html"}, b"<h1>It works!</h1>"), "no Job to glamm .*body: "),
    ],
)
def test_an_answer_that_cannot_be_read_is_told_with_what_to_do(serve, answer, told):
    server = serve(answer)
    with GlammClient(server.url) as client, pytest.raises(Unreachable, match=told) as caught:
        client.job(JOB)
    assert caught.value.remedy is not None
    assert "newer" in caught.value.remedy
    assert len(server.requests) == 1, "asking again would not help"


def test_a_state_of_a_newer_service_is_told_by_its_field(serve, job):
    server = serve(as_json(200, job().model_dump(mode="json") | {"state": "paused"}))
    with GlammClient(server.url) as client, pytest.raises(Unreachable, match="state"):
        client.create_job("0" * 64)


def test_a_busy_service_is_asked_again_after_the_time_it_names(serve, finished):
    server = serve(as_json(503, BUSY, **{"retry-after": "0"}), finished)
    with GlammClient(server.url) as client:
        assert client.create_job("0" * 64).id == JOB
    assert server.requests == ["POST /jobs", "POST /jobs"]


LIMIT = {"type": "x", "title": "Limit reached", "status": 429, "detail": "The limit is reached."}


def test_a_limit_is_waited_for_where_the_service_says_how_long(serve, finished):
    server = serve(as_json(429, LIMIT, **{"retry-after": "0"}), finished)
    with GlammClient(server.url) as client:
        assert client.create_job("0" * 64).id == JOB
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "full", [as_json(429, LIMIT), as_json(429, LIMIT | {"field": "queued_jobs"}, **{"retry-after": "0"})]
)
def test_a_limit_that_waiting_hardly_helps_against_is_told_at_once(serve, finished, full):
    server = serve(full, finished)
    with GlammClient(server.url) as client, pytest.raises(Refused, match="limit is reached") as caught:
        client.create_job("0" * 64)
    assert len(server.requests) == 1
    assert not caught.value.blames_the_request


def test_the_same_request_that_is_still_under_way_is_not_to_be_given_up(serve):
    under_way = {"type": "x", "title": "Under way", "status": 409, "detail": "It is under way."}
    server = serve(as_json(409, under_way, **{"retry-after": "3600"}))
    with GlammClient(server.url, patience=0.1) as client, pytest.raises(Refused, match="under way") as caught:
        client.create_job("0" * 64)
    assert not caught.value.blames_the_request


def test_patience_ends(serve):
    server = serve(as_json(503, BUSY, **{"retry-after": "3600"}))
    with GlammClient(server.url, patience=0.5) as client, pytest.raises(Refused, match="Full"):
        client.create_job("0" * 64)


def test_reading_survives_a_broken_connection(serve, finished):
    server = serve(None, finished)
    with GlammClient(server.url) as client:
        assert client.job(JOB).id == JOB


def test_a_job_whose_answer_was_lost_is_sent_again_under_the_same_key(serve, finished):
    server = serve(None, finished)
    with GlammClient(server.url) as client:
        assert client.create_job("0" * 64).id == JOB
    assert server.requests == ["POST /jobs"] * 2
    first, second = (headers["idempotency-key"] for headers in server.headers)
    assert first == second


def test_what_harms_nobody_twice_is_sent_again_without_a_key(serve, finished):
    server = serve(None, finished)
    with GlammClient(server.url) as client:
        assert client.cancel_job(JOB).id == JOB
    assert server.requests == [f"POST /jobs/{JOB}/cancel"] * 2
    assert not any("idempotency-key" in headers for headers in server.headers)


def test_nobody_listening_is_told_with_the_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with GlammClient(f"http://127.0.0.1:{port}", patience=0.2) as client, pytest.raises(Unreachable, match=str(port)):
        client.create_job("0" * 64)


def test_a_bad_url_is_the_callers_fault():
    with pytest.raises(InvalidInput, match="not a URL"):
        GlammClient("http://[::1")


def test_waiting_shows_each_state_and_ends_with_the_job(serve, running, finished):
    server = serve(running, running, finished)
    seen = []
    with GlammClient(server.url) as client:
        assert client.wait_for(JOB, every=1, seen=lambda view: seen.append(view.state)).state == "succeeded"
    assert seen == ["llm", "llm", "succeeded"]
    assert server.requests[0] == f"GET /jobs/{JOB}?wait=1"


def test_waiting_gives_up_when_told_to(serve, running):
    server = serve(running)
    with GlammClient(server.url) as client, pytest.raises(TimeoutError, match="llm"):
        client.wait_for(JOB, timeout=0)


@pytest.mark.parametrize(("answer", "ready"), [(as_json(200, {"status": "ready"}), True), (as_json(503, BUSY), False)])
def test_readiness_is_asked_once(serve, answer, ready):
    server = serve(answer)
    with GlammClient(server.url) as client:
        if ready:
            client.ready()
        else:
            with pytest.raises(Refused, match="Full"):
                client.ready()
    assert server.requests == ["GET /readyz"]


def test_a_stream_that_breaks_off_is_told_and_no_half_line_comes_of_it(serve):
    server = serve((200, {"content-length": "100"}, b'{"line":1}\n{"li'))
    with GlammClient(server.url) as client:
        lines = client.results(JOB)
        assert next(lines) == b'{"line":1}'
        with pytest.raises(Unreachable):
            next(lines)


def test_only_line_feeds_end_a_line(serve):
    said = '{"text":"one\u2028line\x85"}\n\n{"text":"another"}'.encode()
    server = serve((200, {}, said))
    with GlammClient(server.url) as client:
        assert list(client.results(JOB)) == said.split(b"\n")


def test_the_key_goes_to_the_service_and_nowhere_else(serve):
    service, store = serve((200, {}, b"")), serve((200, {}, b"bytes"))
    with GlammClient(service.url, api_key="secret") as client:
        assert list(client.results(JOB)) == []
        assert b"".join(client.download(f"{store.url}/file?signed=yes")) == b"bytes"
    assert service.headers[0]["authorization"] == "Bearer secret"
    assert "authorization" not in store.headers[0]
    assert store.requests == ["GET /file?signed=yes"]


def test_a_creation_bears_one_idempotency_key_however_often_it_is_sent(serve, finished):
    server = serve(as_json(503, BUSY, **{"retry-after": "0"}), finished)
    with GlammClient(server.url) as client:
        client.create_job("0" * 64)
        client.create_job("0" * 64)
    first, again, other = (headers["idempotency-key"] for headers in server.headers)
    assert first == again != other


def test_the_lines_of_a_refused_manifest_are_told_one_by_one(serve, tmp_path):
    lines = [{"line": 2, "field": "task", "detail": "There is no task.", "remedy": None}]
    problem = {"type": "x", "title": "Invalid", "status": 422, "detail": "Line 2 is wrong.", "lines": lines}
    server = serve(as_json(422, problem))
    (tmp_path / "manifest.jsonl").write_text("{}\n{}\n")
    with GlammClient(server.url) as client, pytest.raises(Refused) as caught:
        client.create_batch(tmp_path / "manifest.jsonl")
    assert list(caught.value.problem.lines) == lines
