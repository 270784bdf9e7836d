"""Images and uploads."""

from typing import Any

IMAGE_ID = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
IMAGE = {"id": IMAGE_ID, "width": 512, "height": 384, "media_type": "image/png"}

STORED_IMAGE = {**IMAGE, "bytes": 201_344, "created": True}
KNOWN_IMAGE = {**STORED_IMAGE, "created": False}

_UPLOAD = {"sha256": IMAGE_ID, "bytes": 201_344, "media_type": "image/png"}
UPLOAD_REQUESTS: dict[str, dict[str, Any]] = {"one image": {"value": {"images": [_UPLOAD]}}}
UPLOADS: dict[str, Any] = {
    "images": [
        {
            "id": IMAGE_ID,
            "stored": False,
            "arrived": False,
            "upload": {
                "method": "PUT",
                "url": f"https://objects.example/glamm/uploads/0198c0de-5a1b-7abc-8def-0123456789ab/{IMAGE_ID}?X-Amz-…",
                "headers": {"Content-Type": "image/png", "Content-Length": "201344"},
                "expires_at": "2026-01-31T13:00:00Z",
            },
        }
    ]
}
