"""Whether the service is there."""

ALIVE = {"status": "ok", "checks": {}}
READY = {"status": "ready", "checks": {"database": "ok", "object store": "ok", "broker": "ok"}}
