"""Every request of the OpenAPI document with fuzzed fields: no server error, no status that the document leaves out."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway.conftest import Process

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

EXAMPLES = 100
# A key that is made would be asked for from then on, and a stream of events ends when its job does.
LEFT_OUT = r"(/keys$|/events$)"
# What the document calls a text is sent as it is.
HOOKS = """
import schemathesis

@schemathesis.serializer("application/jsonl", "application/x-ndjson")
def lines(context, value):
    return value.encode() if isinstance(value, str) else str(value).encode()
"""


async def test_no_request_breaks_the_gateway_or_the_document(start: Callable[..., Process], tmp_path: Path) -> None:
    url = await start().url()
    (tmp_path / "hooks.py").write_text(HOOKS)
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json"),
        *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
        *("--max-examples", str(EXAMPLES), "--exclude-path-regex", LEFT_OUT, "--request-timeout", "60"),
        *("--suppress-health-check", "filter_too_much", "--seed", "7", "--no-color"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-8000:]
