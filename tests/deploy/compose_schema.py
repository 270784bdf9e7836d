"""The part of the Compose Specification that this project uses, as a JSON schema: a misspelt or misplaced key fails."""

from typing import Any

TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
DURATION: dict[str, Any] = {"type": "string", "pattern": r"^([0-9]+(ms|s|m|h))+$"}
NAME = r"^[a-z][a-z0-9-]*$"


def closed(required: list[str] | None = None, /, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required or [],
        "additionalProperties": False,
    }


def listed(items: dict[str, Any], least: int = 1) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "uniqueItems": True}


def named(values: dict[str, Any], pattern: str = NAME) -> dict[str, Any]:
    return {"type": "object", "patternProperties": {pattern: values}, "additionalProperties": False, "minProperties": 1}


HEALTH = closed(
    ["test", "interval", "timeout", "retries"],
    test={
        "type": "array",
        "prefixItems": [{"const": "CMD"}],
        "items": TEXT,
        "minItems": 2,
    },
    interval=DURATION,
    timeout=DURATION,
    retries={"type": "integer", "minimum": 1},
    start_period=DURATION,
    start_interval=DURATION,
)

DEVICE = closed(
    ["driver", "device_ids", "capabilities"],
    driver={"const": "nvidia"},
    device_ids=listed({"type": "string", "pattern": "^[0-9]+$"}),
    capabilities=listed({"const": "gpu"}),
)

DEPENDENCY = closed(
    ["condition"],
    condition={"enum": ["service_healthy", "service_completed_successfully", "service_started"]},
)

LOGGING = closed(
    ["driver", "options"],
    driver={"const": "json-file"},
    options=named({"type": "string"}),
)

SERVICE = closed(
    ["image", "networks"],
    image={"type": "string", "pattern": r"^[a-z0-9./-]+:[A-Za-z0-9_.-]+$"},
    build=closed(["context", "dockerfile"], context=TEXT, dockerfile=TEXT),
    pull_policy={"enum": ["never"]},
    logging=LOGGING,
    command=listed({"type": "string"}) | {"uniqueItems": False},
    environment=named({"type": "string"}, "^[A-Z][A-Z0-9_]*$"),  # an empty one is as good as unset
    ports=listed({"type": "string", "pattern": r"^([0-9.]+:)?[0-9]+:[0-9]+$"}),
    volumes=listed({"type": "string", "pattern": r"^[^:]+:/[^:]*(:ro)?$"}),
    networks=listed(TEXT),
    tmpfs=listed(TEXT),
    depends_on=named(DEPENDENCY),
    healthcheck=HEALTH,
    restart={"enum": ["unless-stopped"]},
    stop_grace_period=DURATION,
    shm_size={"type": "string", "pattern": "^[0-9]+[kmg]$"},
    init={"type": "boolean"},
    read_only={"type": "boolean"},
    cap_drop=listed(TEXT),
    security_opt=listed(TEXT),
    deploy=closed(
        resources=closed(reservations=closed(devices=listed(DEVICE))),
    ),
)

COMPOSE: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": NAME},
        "services": named(SERVICE),
        "networks": named({"anyOf": [{"type": "null"}, closed(internal={"type": "boolean"})]}),
        "volumes": named({"type": "null"}),
    },
    "patternProperties": {"^x-": {}},
    "required": ["name", "services"],
    "additionalProperties": False,
}
