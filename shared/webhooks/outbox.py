"""Events are written beside what they tell of, in its transaction: neither is there without the other.

An owner without endpoints costs one look at an index.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.dml import Insert

from shared.states import FINISHED
from shared.tables import jobs, webhook_deliveries, webhook_endpoints
from shared.webhooks.events import TEST, EventType

_COLUMNS = ["id", "endpoint_id", "event", "payload", "next_at"]
_DUE = func.statement_timestamp()


def _wanted(event: ColumnElement[str]) -> ColumnElement[bool]:
    return webhook_endpoints.c.enabled & (event == any_(webhook_endpoints.c.events))


def _links(path: ColumnElement[str]) -> ColumnElement[Any]:
    return func.jsonb_build_object("self", path)


def _payload(event: ColumnElement[str], time: ColumnElement[Any], data: ColumnElement[Any]) -> ColumnElement[Any]:
    utc = func.to_char(func.timezone("UTC", time), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    return cast(func.jsonb_build_object("type", event, "timestamp", utc, "data", data), JSONB)


def _tell_of_jobs() -> Insert:
    event = func.concat("job.", jobs.c.state)
    data = func.jsonb_build_object(
        *("id", jobs.c.id, "state", jobs.c.state, "batch_id", jobs.c.batch_id, "custom_id", jobs.c.custom_id),
        *("error", jobs.c.error, "links", _links(func.concat("/jobs/", jobs.c.id))),
    )
    told = (
        select(func.uuidv7(), webhook_endpoints.c.id, event, _payload(event, jobs.c.finished_at, data), _DUE)
        .join(webhook_endpoints, webhook_endpoints.c.owner_id == jobs.c.owner_id)
        .where(jobs.c.id == any_(bindparam("job_ids", type_=ARRAY(Uuid))), jobs.c.state.in_(FINISHED), _wanted(event))
    )
    return insert(webhook_deliveries).from_select(_COLUMNS, told)


_TELL_OF_JOBS = _tell_of_jobs()
"""Built once: every job that finishes needs it."""


def jobs_finished(conn: Connection, job_ids: Sequence[UUID]) -> None:
    """Tell of those of the jobs that are finished. Every move that may finish a job ends with this, once a job."""
    if job_ids:
        conn.execute(_TELL_OF_JOBS, {"job_ids": list(job_ids)})


def batch_finished(conn: Connection, batch_id: UUID, owner_id: UUID) -> None:
    """Tell that no job of the batch is left to do, whatever came of them; to be called each time that this is so."""
    event = literal(EventType.BATCH_FINISHED.value)
    data = func.jsonb_build_object(
        "id", cast(str(batch_id), Text), "state", "finished", "links", _links(cast(f"/batches/{batch_id}", Text))
    )
    told = select(
        func.uuidv7(), webhook_endpoints.c.id, event, _payload(event, func.statement_timestamp(), data), _DUE
    ).where(webhook_endpoints.c.owner_id == owner_id, _wanted(event))
    conn.execute(insert(webhook_deliveries).from_select(_COLUMNS, told))


def ask_for_test(conn: Connection, endpoint_id: UUID, delivery_id: UUID) -> UUID:
    """Send the endpoint an event that tells of itself; the delivery's id."""
    event = literal(TEST)
    data = func.jsonb_build_object(
        "id", cast(str(endpoint_id), Text), "links", _links(cast(f"/webhooks/{endpoint_id}", Text))
    )
    told = select(
        literal(delivery_id, Uuid),
        webhook_endpoints.c.id,
        event,
        _payload(event, func.statement_timestamp(), data),
        _DUE,
    ).where(webhook_endpoints.c.id == endpoint_id)
    conn.execute(insert(webhook_deliveries).from_select(_COLUMNS, told))
    return delivery_id


def was_asked(conn: Connection, endpoint_id: UUID, delivery_id: UUID) -> bool:
    """Whether the endpoint has that delivery."""
    its = webhook_deliveries.c.id == delivery_id, webhook_deliveries.c.endpoint_id == endpoint_id
    return conn.execute(select(webhook_deliveries.c.id).where(*its)).one_or_none() is not None
