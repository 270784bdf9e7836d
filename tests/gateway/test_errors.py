"""Errors that no route raises on purpose, and the line that each request writes into the log."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.anyio


async def test_an_unknown_path_is_a_problem(api) -> None:
    answer = await api.get("/nothing/here")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:glamm:problem:not-found")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_wrong_method_is_a_problem_that_names_the_right_ones(api) -> None:
    answer = await api.put("/jobs")
    assert (answer.status_code, answer.json()["type"]) == (405, "urn:glamm:problem:method-not-allowed")
    assert (answer.headers["Allow"], answer.json()["remedy"]) == ("GET, POST", "Use GET, POST.")


async def test_an_unforeseen_error_tells_the_log_everything_and_the_client_nothing(api, backstage, log_lines) -> None:
    with backstage.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE images RENAME TO pictures")
    answer = await api.get(f"/images/{'0' * 64}", headers={"X-Request-ID": "my-1"})
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:glamm:problem:internal")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "images" not in answer.text
    error, line = log_lines
    assert (error["event"], error["log_level"], error["exc_info"]) == ("request.failed", "error", True)
    assert (line["event"], line["status"]) == ("request.answered", 500)
    assert answer.headers["X-Request-ID"] == "my-1"


async def test_each_request_writes_one_line(api, log_lines, png) -> None:
    answer = await api.post("/images", content=png)
    (line,) = log_lines
    assert {
        key: line[key] for key in ("event", "log_level", "method", "path", "status", "received", "sent", "client")
    } == {
        "event": "request.answered",
        "log_level": "info",
        "method": "POST",
        "path": "/images",
        "status": 201,
        "received": len(png),
        "sent": len(answer.content),
        "client": "127.0.0.1",
    }
    assert line["ms"] > 0


async def test_a_strange_request_id_is_replaced(api) -> None:
    given = ["", "a b", "x" * 65, 'a"}\x7f', "søren"]
    answers = [await api.get("/healthz", headers={"X-Request-ID": value.encode()}) for value in given]
    found = {answer.headers["X-Request-ID"] for answer in answers}
    assert len(found) == len(given)
    assert found.isdisjoint(given)


def test_the_gateway_does_not_load_torch() -> None:
    code = "import services.gateway.__main__, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
