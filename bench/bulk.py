"""What a large batch costs: to hand in, to hold, to read back, and to those who wait beside it.

    python -m bench.bulk --jobs 100000 --json

One owner's batch of so many jobs on a few hundred stored images runs on the embedded stack with its workers, while
another owner submits single jobs. The last line of output is a JSON object:

accept_seconds              from the first byte of the manifest to the answer of POST /batches
gateway_rss_growth_mb       how much more memory the gateway had at its peak meanwhile than before
redis_growth_mb             the same of the broker's data, until the single jobs are done
features_growth_mb          the same of the features, a cache, which follow from the images that were encoded by then
poll_ratio                  requests a second of GET /jobs/{id} to those of a bare route that reads the same row in the
                            same way, eight clients asking for 200 jobs by turns, as those do that wait for many
first_read_ratio            the same where no job is asked for twice
results_lines_per_second    of results.jsonl, with as many finished jobs as the batch has, each with phrases and masks
results_bytes_per_line      how long such a line is: those of the job with most phrases, of the few that really ran
results_rss_growth_mb       how much more memory the gateway had at its peak meanwhile than before
interactive_wait_steps      engine steps that a single job waited for its turn in any one stage, at most
interactive_wait_ms         from being ready for a stage to its start there, at most
"""

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import redis
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine, select, text

from bench.throughput import png
from deploy.embedded.stack import Stack
from services.cli.client import GlammClient
from shared import access
from shared.database import create_async_engine, create_engine
from shared.scopes import Scope
from shared.tables import jobs

JSONL = {"Content-Type": "application/jsonl"}
IMAGES = 200
POLLS, POLLED, POLLERS = 2000, 200, 8
MB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.bulk", description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--probes", type=int, default=5, help="single jobs of the other owner, one after another")
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    arguments = parser.parse_args()
    figures: dict[str, object] = {"jobs": arguments.jobs, "cpus": psutil.cpu_count()}
    with tempfile.TemporaryDirectory() as data:
        with Stack(Path(data), report=lambda _: None) as stack:
            figures |= bulk(stack, arguments.jobs, arguments.probes)
        # Without workers nothing else moves, and what is read is the same at every reading.
        with Stack(Path(data), workers=(), report=lambda _: None) as stack:
            figures |= reading(stack, arguments.jobs)
    if not arguments.json:
        for name, value in figures.items():
            print(f"{name:28} {value}")
    print(json.dumps(figures))


def bulk(stack: Stack, count: int, probes: int) -> dict[str, object]:
    gateway = psutil.Process(stack.pids["gateway"])
    broker, features = (memory(stack.environment[name]) for name in ("GLAMM_BROKER_URL", "GLAMM_FEATURES_URL"))
    database = create_engine(stack.environment["GLAMM_DATABASE_URL"])
    with api(stack.gateway_url, stack.api_key) as client:
        # Many images: of a single one the vision stage would do no work after the first job.
        images = [client.post("/images", content=png(probes + n)).json()["id"] for n in range(min(count, IMAGES))]
        # Whatever is loaded on first use is loaded before anything is weighed.
        warm = accept(client, images, 100)
        # Its jobs would be worked on beside what is measured.
        client.post(f"{warm}/cancel").raise_for_status()
        while not client.get(warm).json()["finished_at"]:
            time.sleep(0.1)
        rss, queued, kept = gateway.memory_info().rss, broker(), features()
        with (
            peak(lambda: gateway.memory_info().rss) as highest,
            peak(broker) as most_queued,
            peak(features) as most_kept,
        ):
            began = time.perf_counter()
            batch = accept(client, images, count)
            seconds = time.perf_counter() - began
            figures: dict[str, object] = {
                "accept_seconds": round(seconds, 2),
                "gateway_rss_growth_mb": round((highest() - rss) / MB, 1),
            }
            waits = [interactive_wait(stack, database, number) for number in range(probes)]
            figures["redis_growth_mb"] = round((most_queued() - queued) / MB, 2)
            figures["features_growth_mb"] = round((most_kept() - kept) / MB, 2)
        figures["interactive_wait_steps"] = max(steps for steps, _ in waits)
        figures["interactive_wait_ms"] = round(max(ms for _, ms in waits), 1)
        client.post(f"{batch}/cancel").raise_for_status()
    database.dispose()
    return figures


def accept(client: httpx.Client, images: Sequence[str], count: int) -> str:
    """The path of a batch of so many jobs."""

    def manifest() -> Iterator[bytes]:
        for start in range(0, count, 1000):
            numbers = range(start, min(start + 1000, count))
            lines = (
                {"custom_id": f"{number:08}", "image_id": images[number % len(images)], "task": "gcg"}
                for number in numbers
            )
            yield "".join(json.dumps(line) + "\n" for line in lines).encode()

    answer = client.post("/batches", content=manifest(), headers=JSONL)
    answer.raise_for_status()
    return str(answer.headers["Location"])


def interactive_wait(stack: Stack, database: Engine, number: int) -> tuple[int, float]:
    """What a job waits whose owner has no other: the most engine steps and milliseconds, in any stage."""
    with database.begin() as connection:
        key = access.new_secret()
        access.ensure_key(connection, f"visitor {number}", list(Scope), key)
    with GlammClient(stack.gateway_url, api_key=key) as client:
        job = client.wait_for(client.create_job(client.upload_image(png(number)).id).id)
    waited = text(
        """
        SELECT max((timings ->> 'engine_wait_steps')::int) AS steps,
               max(extract(epoch FROM started_at - ready_at)) * 1000 AS ms
        FROM stage_runs WHERE job_id = :job AND timings IS NOT NULL
        """
    )
    with database.connect() as connection:
        row = connection.execute(waited, {"job": job.id}).one()
    return int(row.steps), float(row.ms)


def reading(stack: Stack, count: int) -> dict[str, object]:
    database = create_engine(stack.environment["GLAMM_DATABASE_URL"])
    with database.begin() as connection:
        batch = finish_all(connection, count)
        ids = list(
            connection.execute(select(jobs.c.id).where(jobs.c.batch_id == batch).order_by(jobs.c.line)).scalars()
        )
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    gateway = psutil.Process(stack.pids["gateway"])
    with api(stack.gateway_url, stack.api_key) as client:
        # The connection, and what is loaded on first use.
        client.get(f"/jobs/{ids[0]}").raise_for_status()
        rss = gateway.memory_info().rss
        with peak(lambda: gateway.memory_info().rss) as highest:
            began = time.perf_counter()
            with client.stream("GET", f"/batches/{batch}/results.jsonl") as answer:
                lines = size = 0
                for chunk in answer.iter_bytes():
                    lines, size = lines + chunk.count(b"\n"), size + len(chunk)
            seconds = time.perf_counter() - began
            grown = highest() - rss
    assert lines == count, (lines, count)
    key = {"Authorization": f"Bearer {stack.api_key}"}
    with bare_route(stack.environment["GLAMM_DATABASE_URL"]) as bare:

        def pair(asked: Sequence[UUID]) -> tuple[float, float]:
            return asyncio.run(rate(stack.gateway_url, asked, key)), asyncio.run(rate(bare, asked, {}))

        polls = min(POLLS, count // 3)
        first = [pair(ids[n * polls : (n + 1) * polls]) for n in range(3)]
        again = [pair(ids[:POLLED] * (POLLS // POLLED)) for _ in range(3)]
    database.dispose()
    return {
        "results_lines_per_second": round(lines / seconds),
        "results_bytes_per_line": round(size / lines),
        "results_rss_growth_mb": round(grown / MB, 1),
        "polls_per_second": round(statistics.median(ours for ours, _ in again)),
        "bare_polls_per_second": round(statistics.median(theirs for _, theirs in again)),
        "poll_ratio": round(statistics.median(ours / theirs for ours, theirs in again), 3),
        "first_read_ratio": round(statistics.median(ours / theirs for ours, theirs in first), 3),
    }


def finish_all(connection: Any, count: int) -> UUID:
    """Give every job of the largest batch the result of one that succeeded: what workers would write, in less time."""
    batch = connection.execute(text("SELECT id FROM batches ORDER BY jobs DESC LIMIT 1")).scalar_one()
    done = connection.execute(
        text("SELECT job_id FROM phrases GROUP BY job_id ORDER BY count(*) DESC LIMIT 1")
    ).scalar_one()
    values = {"batch": batch, "done": done}
    for table in ("results", "answers", "phrases"):
        names = connection.execute(
            text(
                "SELECT string_agg(column_name, ', ') FROM information_schema.columns "
                "WHERE table_name = :table AND column_name <> 'job_id'"
            ),
            {"table": table},
        ).scalar_one()
        connection.execute(
            text(
                f"INSERT INTO {table} (job_id, {names}) SELECT jobs.id, {names} FROM {table} CROSS JOIN jobs "
                "WHERE job_id = :done AND batch_id = :batch AND state <> 'succeeded'"
            ),
            values,
        )
    connection.execute(
        text(
            "UPDATE jobs SET state = 'succeeded', finished_at = now() WHERE batch_id = :batch AND state <> 'succeeded'"
        ),
        values,
    )
    assert connection.execute(text("SELECT jobs FROM batches WHERE id = :batch"), values).scalar_one() == count
    return UUID(str(batch))


@contextmanager
def bare_route(url: str) -> Iterator[str]:
    """The least that a route can do which reads a job's row, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=serve_bare, args=(url, port), daemon=True)
    process.start()
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            httpx.get(address)
            break
        except httpx.TransportError:
            time.sleep(0.05)
    try:
        yield address
    finally:
        process.terminate()
        process.join()


def serve_bare(url: str, port: int) -> None:
    app = FastAPI()
    # A transaction around its one statement would cost it two round trips more.
    engine = create_async_engine(url, pool_size=10).execution_options(isolation_level="AUTOCOMMIT")

    @app.get("/jobs/{job_id}")
    async def read(job_id: UUID) -> dict[str, Any]:
        async with engine.connect() as connection:
            row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).mappings().one()
        return dict(row)

    uvicorn.run(app, port=port, log_level="error", access_log=False)


async def rate(url: str, asked: Sequence[UUID], headers: dict[str, str]) -> float:
    """Requests a second of POLLERS that ask for these jobs without a pause."""
    waiting = iter(asked)
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:

        async def poll() -> None:
            for job_id in waiting:
                (await client.get(f"/jobs/{job_id}")).raise_for_status()

        # The connections.
        await asyncio.gather(*(client.get("/healthz") for _ in range(POLLERS)))
        began = time.perf_counter()
        await asyncio.gather(*(poll() for _ in range(POLLERS)))
        return len(asked) / (time.perf_counter() - began)


@contextmanager
def api(url: str, key: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=600) as client:
        yield client


@contextmanager
def peak(measure: Callable[[], int]) -> Iterator[Callable[[], int]]:
    """The most that was measured inside the block, every 20 ms; a function that tells it."""
    seen, done = [measure()], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            seen[0] = max(seen[0], measure())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield lambda: max(seen[0], measure())
    finally:
        done.set()
        watching.join()


def memory(url: str) -> Callable[[], int]:
    """A function that tells how many bytes of data the Redis holds."""
    store = redis.Redis.from_url(url.replace("redis+socket://", "unix://"))
    return lambda: int(store.info("memory")["used_memory"])


if __name__ == "__main__":
    main()
