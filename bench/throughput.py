"""Jobs a second through the embedded stack against the same jobs through the stages chained in one process.

    python -m bench.throughput --jobs 200 --json

The images are test scenes, each another, so that no feature is found in the cache. The last line of output is a JSON
object; jobs of the service count from the first upload to the last result.
"""

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import psutil
import torch
from PIL import Image

from deploy.embedded.stack import Stack
from services.cli.client import GlammClient
from shared import schema
from shared.settings import get_settings
from shared.stages.glamm import Glamm, Request
from training.scenes.compose import scene

CLIENT_THREADS = 8
BATCH = 8
WARM_UP = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    arguments = parser.parse_args()
    pictures = [png(number) for number in range(arguments.jobs)]
    warm_up = [png(arguments.jobs + number) for number in range(WARM_UP)]
    figures: dict[str, object] = {"jobs": arguments.jobs, "cpus": psutil.cpu_count()}
    figures |= through_service(pictures, warm_up)
    figures |= through_chain(pictures, warm_up)
    figures["service_to_chain"] = ratio(figures["service_jobs_per_second"], figures["chain_jobs_per_second"])
    figures["service_to_batched_chain"] = ratio(
        figures["service_jobs_per_second"], figures["batched_chain_jobs_per_second"]
    )
    if not arguments.json:
        for name, value in figures.items():
            print(f"{name:32} {value}")
    print(json.dumps(figures))


def through_service(pictures: Sequence[bytes], warm_up: Sequence[bytes]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as data, Stack(Path(data), report=lambda _: None) as stack:
        with GlammClient(stack.gateway_url, api_key=stack.api_key) as client:
            run_jobs(client, warm_up)
            began = time.perf_counter()
            done = run_jobs(client, pictures)
            seconds = time.perf_counter() - began
        memory = {name: round(psutil.Process(pid).memory_info().rss / 2**20) for name, pid in stack.pids.items()}
    return {
        "service_jobs_per_second": round(len(pictures) / seconds, 2),
        "stage_milliseconds": stage_milliseconds(done),
        "rss_mb": memory,
    }


def run_jobs(client: GlammClient, pictures: Sequence[bytes]) -> list[schema.Job]:
    """Uploads and jobs from several threads, then every result, as a bulk client would."""

    def submit(data: bytes) -> UUID:
        return client.create_job(client.upload_image(data).id).id

    with ThreadPoolExecutor(CLIENT_THREADS) as threads:
        ids = list(threads.map(submit, pictures))
        done = list(threads.map(client.wait_for, ids))
    failed = [job for job in done if job.error is not None]
    if failed:
        raise SystemExit(f"{len(failed)} jobs failed, the first with: {failed[0].error}")
    return done


def stage_milliseconds(done: Sequence[schema.Job]) -> dict[str, dict[str, float]]:
    """Median of every timing of each stage."""
    figures: dict[str, dict[str, float]] = {}
    for stage in ("vision", "llm", "pixel"):
        runs = [run for job in done for run in job.stages if run.stage == stage]
        figures[stage] = {
            name: round(statistics.median(values), 1)
            for name in ("waited_ms", "fetch_ms", "engine_ms", "total_ms")
            if (values := [value for run in runs if (value := getattr(run, name)) is not None])
        }
    return figures


def through_chain(pictures: Sequence[bytes], warm_up: Sequence[bytes]) -> dict[str, object]:
    settings = get_settings()
    if settings.torch_threads is not None:
        torch.set_num_threads(settings.torch_threads)
    glamm = Glamm.load(settings.checkpoint)

    def rate(batch: int) -> float:
        began = time.perf_counter()
        for start in range(0, len(pictures), batch):
            glamm.annotate_batch([request(data) for data in pictures[start : start + batch]])
        return round(len(pictures) / (time.perf_counter() - began), 2)

    glamm.annotate_batch([request(data) for data in warm_up])
    return {"chain_jobs_per_second": rate(1), "batched_chain_jobs_per_second": rate(BATCH)}


def request(data: bytes) -> Request:
    return Request(Image.open(io.BytesIO(data)).convert("RGB"))


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(scene(number, "test").image).save(buffer, format="PNG")
    return buffer.getvalue()


def ratio(one: object, other: object) -> float:
    return round(float(str(one)) / float(str(other)), 3)


if __name__ == "__main__":
    main()
