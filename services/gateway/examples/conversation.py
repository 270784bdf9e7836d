"""Conversations and their turns."""

from typing import Any

from services.gateway.examples.image import IMAGE, IMAGE_ID
from services.gateway.examples.job import FINISHED_JOB, QUESTION, QUEUED_JOB, URL, listed

_CONVERSATION_ID = "0198c0de-5a1d-7abc-8def-0123456789ab"
_CONVERSATION_URL = f"/conversations/{_CONVERSATION_ID}"
CONVERSATION = {
    "id": _CONVERSATION_ID,
    "image": IMAGE,
    "created_at": "2026-01-31T12:00:00Z",
    "turns": [URL],
    "links": {"self": _CONVERSATION_URL, "turns": f"{_CONVERSATION_URL}/turns"},
}

QUEUED_TURN: dict[str, Any] = {
    **QUEUED_JOB,
    "task": "vqa",
    "request": QUESTION,
    "turn": 1,
    "links": {**QUEUED_JOB["links"], "conversation": _CONVERSATION_URL},
}
FINISHED_TURN: dict[str, Any] = {
    **FINISHED_JOB,
    **{name: QUEUED_TURN[name] for name in ("task", "request", "turn")},
    "links": {**FINISHED_JOB["links"], "conversation": _CONVERSATION_URL},
}
TURN_PAGE = {"jobs": [listed(FINISHED_TURN)], "next": "MQ"}
CONVERSATION_REQUESTS = {"about a stored image": {"value": {"image_id": IMAGE_ID}}}
