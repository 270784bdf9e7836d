"""Text on its way from the llm stage to whoever watches: published on the broker, kept nowhere.

A message holds all the text so far of those of a job's answers that have grown, so one that is lost is made good by the
next. Nothing depends on any of them: while the broker is away there is no growing text.
"""

import json
from collections.abc import Mapping
from typing import Final
from uuid import UUID

_PREFIX: Final = "glamm:text:"


def channel(job_id: UUID) -> str:
    return f"{_PREFIX}{job_id}"


def encode(texts: Mapping[int, str]) -> bytes:
    """texts: answer's number → its text so far, without markup."""
    return json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode()


def decode(message: bytes) -> dict[int, str]:
    return {int(answer): text for answer, text in json.loads(message).items()}
