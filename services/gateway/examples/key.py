"""API keys, and the limits of their owners."""

from typing import Any

KEY: dict[str, Any] = {
    "id": "0198c0de-5a1c-7abc-8def-0123456789ab",
    "owner": "annotators",
    "name": "nightly run",
    "scopes": ["read", "write"],
    "hint": "glamm_h3Yx",
    "created_at": "2026-01-31T12:00:00Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
}
CREATED_KEY = {**KEY, "secret": "glamm_h3Yx-this-is-an-example-and-opens-nothing"}
KEYS = {"keys": [KEY], "next": None}
LIMITS = {"requests_per_minute": 600, "stored_bytes": 50_000_000_000, "queued_jobs": None}
KEY_REQUESTS: dict[str, dict[str, Any]] = {
    "for a team": {"value": {"owner": "annotators", "scopes": ["read", "write"], "name": "nightly run"}},
    "to look on": {"value": {"owner": "annotators", "scopes": ["read"], "expires_at": "2030-01-01T00:00:00Z"}},
}
ALLOWANCE: dict[str, Any] = {
    "owner": "annotators",
    "own": LIMITS,
    "in_force": {**LIMITS, "queued_jobs": 1_000_000},
    "used": {"stored_bytes": 12_884_901_888, "queued_jobs": 412},
}
LIMIT_REQUESTS: dict[str, dict[str, Any]] = {"some": {"value": LIMITS}}
