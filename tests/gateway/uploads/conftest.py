"""What a client of direct uploads does: it declares images and puts them into the object store."""

from hashlib import sha256
from typing import Any

import httpx

from shared.schema import ExpectedUpload, Uploads


def described(data: bytes, **otherwise: object) -> dict[str, Any]:
    return {"sha256": sha256(data).hexdigest(), "bytes": len(data), "media_type": "image/png", **otherwise}


async def declare(api: httpx.AsyncClient, *images: dict[str, Any], **request: Any) -> list[ExpectedUpload]:
    answer = await api.post("/images/uploads", json={"images": images}, **request)
    assert answer.status_code == 200, answer.text
    return Uploads.model_validate_json(answer.content).images


async def put(expected: ExpectedUpload, data: bytes) -> int:
    """As any HTTP client does, without a key of ours; the status."""
    assert expected.upload is not None
    async with httpx.AsyncClient(trust_env=False) as client:
        sent = {name: value for name, value in expected.upload.headers.items() if name != "Content-Length"}
        answer = await client.request(expected.upload.method, expected.upload.url, content=data, headers=sent)
        return answer.status_code
