"""Jobs as the gateway describes them, for tests that need no gateway."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from shared import schema


@pytest.fixture
def job() -> Callable[..., schema.Job]:
    """Makes a job that succeeded, but for what is given."""

    def make(**changes: Any) -> schema.Job:
        now = datetime.now(UTC).isoformat()
        data: dict[str, Any] = {
            "id": "01900000-0000-7000-8000-000000000000",
            "task": "gcg",
            "state": "succeeded",
            "prompt": None,
            "boxes": [],
            "image": {"id": "0" * 64, "width": 64, "height": 48, "media_type": "image/png"},
            "created_at": now,
            "finished_at": now,
            "queue_position": None,
            "progress": 1.0,
            "stages": [],
            "error": None,
            "result": None,
            "links": {"self": "/jobs/x", "image": "/images/x", "overlay": None},
        }
        return schema.Job.model_validate(data | changes)

    return make
