"""`python -m services.gateway` as a process: what only a real server and real sockets can show."""

import asyncio
import select
import signal
import socket

import anyio
import httpx
import pytest

from tests.gateway.conftest import PATIENCE

pytestmark = pytest.mark.anyio


def connect(url: str) -> socket.socket:
    parsed = httpx.URL(url)
    return socket.create_connection((parsed.host, parsed.port), timeout=PATIENCE)


def received(connection: socket.socket) -> str:
    return connection.recv(65536).decode()


async def test_a_body_over_the_limit_is_refused_while_it_comes(start, backstage) -> None:
    limit = 1_000_000
    process = start(GLAMM_MAX_IMAGE_BYTES=str(limit))
    url = await process.url()

    # Declared: refused before any of it is sent.
    with connect(url) as connection:
        connection.sendall(
            b"POST /images HTTP/1.1\r\nHost: gateway\r\nContent-Type: image/png\r\n"
            b"Content-Length: 1000000000000\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = received(connection)
    assert answer.startswith("HTTP/1.1 413 ")
    assert "application/problem+json" in answer

    # Undeclared, and without an end: refused as soon as the limit is passed.
    forms = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    for path, kind, first in (
        ("/images", "image/png", b""),
        ("/images", "multipart/form-data; boundary=x", forms),
        ("/jobs", "multipart/form-data; boundary=x", forms),
        ("/jobs", "application/json", b'{"prompt": "'),
    ):
        with connect(url) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: g\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sendall(head.encode())
            chunk, sent = first or b"a", 0
            while not select.select([connection], [], [], 0)[0]:
                connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                sent += len(chunk)
                chunk = b"a" * 65536
                assert sent < 64_000_000, "the gateway reads on and on"
            answer = received(connection)
        assert answer.startswith("HTTP/1.1 413 "), (path, kind, answer)
        assert sent > limit

    contents = backstage.contents()
    assert (contents.objects, contents.images, contents.jobs) == ((), 0, 0)


async def test_a_caller_that_hangs_up_leaves_nothing(start, backstage, png) -> None:
    process = start()
    with connect(await process.url()) as connection:
        head = f"POST /images HTTP/1.1\r\nHost: g\r\nContent-Type: image/png\r\nContent-Length: {len(png)}\r\n\r\n"
        connection.sendall(head.encode() + png[:-10])
    await process.logged("request.answered", path="/images")
    assert not [line for line in process.lines if line["level"] in ("error", "critical")]
    contents = backstage.contents()
    assert (contents.objects, contents.images) == ((), 0)


async def test_sigterm_answers_those_who_wait_and_ends_cleanly(start, png) -> None:
    process = start()
    async with httpx.AsyncClient(base_url=await process.url(), timeout=PATIENCE, trust_env=False) as api:
        job = (await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})).json()
        polls = [asyncio.create_task(api.get(f"/jobs/{job['id']}?wait=60")) for _ in range(3)]
        # Three requests are under way once a fourth, sent after them, has been answered.
        await asyncio.sleep(0)
        await api.get("/healthz")
        process.popen.send_signal(signal.SIGTERM)
        with anyio.fail_after(30):  # half of what they asked to wait
            answers = await asyncio.gather(*polls)
    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [(200, "queued")] * 3
    assert await process.ended() == 0
    await process.logged("job.queued", job_id=job["id"], image_id=job["image"]["id"], task="gcg")
    await process.logged("request.answered", job_id=job["id"], method="GET", status=200)
    of_process = [line["event"] for line in process.lines if line["event"].startswith("process.")]
    assert of_process == ["process.ready", "process.stopping"]


async def test_a_taken_port_is_a_line_in_the_log_and_a_failed_start(start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(GLAMM_GATEWAY_PORT=str(taken.getsockname()[1]))
        assert await process.ended() != 0
    assert any("address already in use" in line["event"] for line in process.lines)
    assert not any(line["event"] == "process.ready" for line in process.lines)
