"""Whether the process lives, and whether it could take a job now."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter
from sqlalchemy import select

from services.gateway import examples, openapi
from services.gateway.gateway import Current, Gateway
from shared import schema
from shared.errors import Unavailable
from shared.tables import jobs

router = APIRouter(tags=["health"])

_CHECK_SECONDS = 3.0


@router.get("/healthz", responses={200: openapi.example("Alive", examples.ALIVE)})
async def alive() -> schema.Health:
    """The process answers."""
    return schema.Health(status="ok")


@router.get("/readyz", responses={200: openapi.example("Ready", examples.READY), **openapi.problems(503)})
async def ready(gateway: Current) -> schema.Health:
    """Database (with its tables), object store (with its bucket) and broker answer."""
    checks = {"database": _database(gateway), "object store": _objects(gateway), "broker": _broker(gateway)}
    found = await asyncio.gather(*map(_outcome, checks.values()))
    report = dict(zip(checks, found, strict=True))
    faults = [f"{name}: {outcome}" for name, outcome in report.items() if outcome != "ok"]
    if faults:
        raise Unavailable(", ".join(name for name, outcome in report.items() if outcome != "ok"), "; ".join(faults))
    return schema.Health(status="ready", checks=report)


async def _outcome(check: Awaitable[bool]) -> str:
    try:
        return "ok" if await asyncio.wait_for(check, _CHECK_SECONDS) else "not set up"
    except Exception as error:  # a probe reports whatever is wrong; it has no failures of its own
        return str(error).splitlines()[0] if str(error) else type(error).__name__


async def _database(gateway: Gateway) -> bool:
    async with gateway.engine.connect() as connection:
        await connection.execute(select(jobs.c.id).limit(1))
    return True


async def _objects(gateway: Gateway) -> bool:
    return await gateway.on_network(gateway.objects.ready)


async def _broker(gateway: Gateway) -> bool:
    return bool(await gateway.broker.ping())
