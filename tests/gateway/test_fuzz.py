"""Every request of the OpenAPI document with fuzzed fields: no server error, no status that the document leaves out."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from services.cli.client import GlammClient
from shared import access, schema
from shared.scopes import Scope
from shared.tasks import Task
from shared.webhooks.events import EventType
from tests.gateway.conftest import Backstage, Process

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

EXAMPLES = 100
# A stream of events ends when its job does. tests/gateway/test_events.py has it.
LEFT_OUT = r"/events$"
# Half of the ids are those of things that there are. What the document calls a text is sent as it is.
HOOKS = """
import json
import os
import zlib

import schemathesis

KNOWN = json.loads(os.environ["KNOWN"])


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    for name, value in (path_parameters or {}).items():
        if name in KNOWN and zlib.crc32(str(value).encode()) % 2:
            path_parameters[name] = KNOWN[name]
    return path_parameters


@schemathesis.serializer("application/jsonl", "application/x-ndjson")
def lines(context, value):
    return value.encode() if isinstance(value, str) else str(value).encode()
"""


async def test_no_request_breaks_the_gateway_or_the_document(
    start: Callable[..., Process], backstage: Backstage, png: bytes, result, tmp_path: Path
) -> None:
    key = access.new_secret()
    with backstage.engine.begin() as connection:
        access.ensure_key(connection, "fuzzer", list(Scope), key)
    url = await start().url()
    (tmp_path / "hooks.py").write_text(HOOKS)
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json"),
        *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
        *("--max-examples", str(EXAMPLES), "--exclude-path-regex", LEFT_OUT, "--request-timeout", "60"),
        *("--suppress-health-check", "filter_too_much", "--seed", "7", "--no-color"),
        *("--header", f"Authorization: Bearer {key}"),
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "hooks",
        "PYTHONPATH": str(tmp_path),
        "KNOWN": json.dumps(things(url, key, backstage, png, result)),
    }
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-8000:]
    # Nobody took the key away, and what there was has been reached.
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
        assert client.get("/jobs").is_success


def things(url: str, key: str, backstage: Backstage, png: bytes, result) -> dict[str, str]:
    """One of everything that a path can name, by the name of its parameter; the job has masks."""
    with GlammClient(url, api_key=key) as client:
        image = client.upload_image(png)
        job = client.create_job(image.id)
        backstage.succeed(job.id, result)
        talk = client.begin_conversation(image.id)
        ask = schema.BatchRequest(job=schema.GcgAsk(task=Task.GCG), image_ids=[image.id])
        batch = client.create_batch_of(ask)
        hook = client.create_webhook("https://1.1.1.1/", [EventType.JOB_FAILED])
    return {
        "image_id": image.id,
        "job_id": str(job.id),
        "n": "0",
        "conversation_id": str(talk.id),
        "batch_id": str(batch.id),
        "webhook_id": str(hook.id),
    }
