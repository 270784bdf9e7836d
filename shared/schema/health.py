"""Whether the service can take jobs."""

from pydantic import Field

from shared.schema.base import Response


class Health(Response):
    """`checks`: the servers that the gateway leans on; empty when only the process itself was asked."""

    status: str
    checks: dict[str, str] = Field(default_factory=dict)
