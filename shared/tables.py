"""The tables, with the rules a row must keep whatever code writes it."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from shared.states import FINISHED, IN_FLIGHT, BatchState, ExportState, Outcome, Stage, State
from shared.webhooks.events import DeliveryState, DisabledBecause

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _one_of(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


_in_flight = _one_of("state", IN_FLIGHT)
_finished = _one_of("state", FINISHED)
_time = DateTime(timezone=True)
_json = JSONB(none_as_null=True)

LOCAL_OWNER = UUID("00000000-0000-7000-8000-000000000000")
"""The owner of what is stored while the service has no keys; the migrations make its row."""

owners = Table(
    "owners",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", _time, nullable=False, server_default=func.now()),
    Column("requests_per_minute", Integer, comment="none: the setting's, as with the next two"),
    Column("stored_bytes", BigInteger),
    Column("queued_jobs", Integer),
    CheckConstraint("name <> ''", name="has_name"),
    CheckConstraint("requests_per_minute > 0 AND stored_bytes >= 0 AND queued_jobs >= 0", name="limits_sensible"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id"), nullable=False, index=True),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False, comment="the secret's first characters, to tell it by"),
    Column("created_at", _time, nullable=False, server_default=func.now()),
    Column("expires_at", _time),
    Column("revoked_at", _time),
    Column("last_used_at", _time, comment="to within what the gateways keep in mind"),
    CheckConstraint("octet_length(secret_sha256) = 32", name="secret_hashed"),
)

images = Table(
    "images",
    metadata,
    Column("id", Text, primary_key=True, comment="sha256 of the stored bytes, hex"),
    Column("object_key", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", _time, nullable=False, server_default=func.now()),
    Column("deleted_at", _time, comment="since when its bytes are gone; what was found in it stays"),
    Column("owner_id", Uuid, ForeignKey("owners.id"), primary_key=True),
    Column("erased_at", _time, comment="when a deleted one's bytes were removed; until then that is still to be done"),
    CheckConstraint("id ~ '^[0-9a-f]{64}$'", name="id_is_sha256"),
    CheckConstraint("width > 0 AND height > 0 AND bytes > 0", name="not_empty"),
    CheckConstraint("erased_at IS NULL OR deleted_at IS NOT NULL", name="erased_was_deleted"),
    Index("ix_images_age", "created_at", postgresql_where=text("deleted_at IS NULL")),
    Index("ix_images_to_erase", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL AND erased_at IS NULL")),
)

uploads = Table(
    "uploads",
    metadata,
    Column("owner_id", Uuid, ForeignKey("owners.id"), primary_key=True),
    Column("sha256", Text, primary_key=True, comment="hex; this and the next two as the client declared them"),
    Column("bytes", BigInteger, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("object_key", Text, nullable=False, comment="where the client puts the bytes"),
    Column("created_at", _time, nullable=False, server_default=func.now()),
    Column("expires_at", _time, nullable=False, comment="when it is swept, used or not, with whatever is at the key"),
    Column("urls_until", _time, nullable=False, comment="when its last URL ends"),
    Column(
        "spent_at",
        _time,
        comment="used or deleted, and to be declared anew; the row stays for what its URLs may still bring",
    ),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_is_hex"),
    CheckConstraint("bytes > 0", name="not_empty"),
    Index("ix_uploads_expires_at", "expires_at"),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("image_id", Text, nullable=False, index=True),
    Column("created_at", _time, nullable=False, server_default=func.now()),
    Column("owner_id", Uuid, nullable=False),
    ForeignKeyConstraint(["image_id", "owner_id"], ["images.id", "images.owner_id"]),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id"), nullable=False),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("priority", Integer, nullable=False, comment="that of all its jobs"),
    Column("state", Text, nullable=False, server_default=text("'running'")),
    Column("jobs", Integer, nullable=False, comment="how many it has"),
    Column("created_at", _time, nullable=False, server_default=func.now()),
    Column("expires_at", _time, nullable=False),
    Column("retry_at", _time, comment="failures up to then are to be queued again"),
    Column("finished_at", _time, comment="since when none of its jobs is unfinished"),
    Column("counts", _json, comment="its jobs by state, of a finished one: they change no more"),
    Column("request_digest", LargeBinary, comment="by which the request that made it is known"),
    CheckConstraint(_one_of("state", BatchState), name="state_known"),
    CheckConstraint("jobs >= 0", name="jobs_not_negative"),
    CheckConstraint("num_nulls(finished_at, counts) IN (0, 2)", name="finished_has_counts"),
    Index("ix_batches_owner", "owner_id", "id"),
    Index("ix_batches_open", "id", postgresql_where=text("finished_at IS NULL")),
)

batch_errors = Table(
    "batch_errors",
    metadata,
    Column("batch_id", Uuid, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("line", Integer, primary_key=True, autoincrement=False, comment="of the manifest, from 1"),
    Column("custom_id", Text),
    Column("problem", _json, nullable=False, comment="why the line became no job"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("image_id", Text, index=True, comment="none until the image is taken in from its source"),
    Column("task", Text, nullable=False),
    Column("inputs", _json, nullable=False, server_default=text("'{}'"), comment="shared.tasks.Ask without its task"),
    Column("conversation_id", Uuid, ForeignKey("conversations.id")),
    Column("turn", Integer, comment="1 for the first of its conversation"),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("state", Text, nullable=False, server_default=text("'queued'")),
    Column("attempt", Integer, nullable=False, server_default=text("0"), comment="starts of the present stage"),
    Column("rewinds", Integer, nullable=False, server_default=text("0")),
    Column("lease_worker", Text),
    Column("lease_token", Uuid),
    Column("lease_expires_at", _time),
    Column("ready_at", _time, comment="since when the present stage could start"),
    Column("sent_at", _time, comment="when its message was last sent"),
    Column("created_at", _time, nullable=False, server_default=func.now()),
    Column("admitted_at", _time),
    Column("finished_at", _time),
    Column("expires_at", _time, nullable=False),
    Column("error", _json, comment="the problem of a failed job, with stage and attempt"),
    Column("owner_id", Uuid, nullable=False),
    Column("batch_id", Uuid, ForeignKey("batches.id")),
    Column("line", Integer, comment="of the batch's manifest, from 1"),
    Column("custom_id", Text, comment="the client's own name for the job, one of its batch"),
    Column("source", Text, comment="where the image is, or was, taken in from"),
    ForeignKeyConstraint(["image_id", "owner_id"], ["images.id", "images.owner_id"]),
    CheckConstraint("num_nulls(image_id, source) < 2", name="has_image"),
    CheckConstraint("num_nulls(batch_id, line) IN (0, 2)", name="line_of_batch"),
    CheckConstraint("custom_id IS NULL OR batch_id IS NOT NULL", name="custom_id_of_batch"),
    CheckConstraint(_one_of("state", State), name="state_known"),
    CheckConstraint("attempt >= 0 AND rewinds >= 0", name="counts_not_negative"),
    CheckConstraint("num_nulls(conversation_id, turn) IN (0, 2) AND turn > 0", name="turn_of_conversation"),
    CheckConstraint("num_nulls(lease_worker, lease_token, lease_expires_at) IN (0, 3)", name="lease_whole"),
    CheckConstraint(f"lease_token IS NULL OR ({_in_flight} AND attempt > 0)", name="lease_only_in_flight"),
    CheckConstraint(
        f"NOT ({_in_flight}) OR num_nulls(admitted_at, ready_at, sent_at) = 0", name="in_flight_was_admitted"
    ),
    CheckConstraint("state <> 'queued' OR (admitted_at IS NULL AND attempt = 0)", name="queued_not_started"),
    CheckConstraint(f"(finished_at IS NOT NULL) = ({_finished})", name="finished_has_time"),
    CheckConstraint("(error IS NOT NULL) = (state = 'failed')", name="failed_has_error"),
    Index(
        "ix_jobs_admission",
        "owner_id",
        text("priority DESC"),
        "created_at",
        "id",
        postgresql_where=text("state = 'queued' AND batch_id IS NULL"),
    ),
    Index("ix_jobs_batch_head", "batch_id", "line", postgresql_where=text("state = 'queued' AND batch_id IS NOT NULL")),
    Index("ix_jobs_waits_for", "source", postgresql_where=text("finished_at IS NULL AND source IS NOT NULL")),
    Index("ix_jobs_batch_state", "batch_id", "state", "line", postgresql_where=text("batch_id IS NOT NULL")),
    Index("ix_jobs_batch_task", "batch_id", "task", "line", postgresql_where=text("batch_id IS NOT NULL")),
    Index(
        "ix_jobs_failed_of_batch",
        "batch_id",
        text("(error ->> 'type')"),
        "line",
        postgresql_where=text("batch_id IS NOT NULL AND state = 'failed'"),
    ),
    Index("uq_jobs_line", "batch_id", "line", unique=True, postgresql_where=text("batch_id IS NOT NULL")),
    Index("uq_jobs_custom_id", "batch_id", "custom_id", unique=True, postgresql_where=text("custom_id IS NOT NULL")),
    Index("ix_jobs_batch_finished", "batch_id", "finished_at", postgresql_where=text("batch_id IS NOT NULL")),
    Index(
        "ix_jobs_succeeded_of_batch",
        "batch_id",
        "image_id",
        "line",
        postgresql_where=text("batch_id IS NOT NULL AND state = 'succeeded'"),
    ),
    Index("ix_jobs_queued_of_owner", "owner_id", postgresql_where=text("state = 'queued'")),
    Index("uq_jobs_turn", "conversation_id", "turn", unique=True, postgresql_where=text("turn IS NOT NULL")),
    Index("ix_jobs_in_flight", "state", "sent_at", postgresql_where=text(_in_flight)),
    Index("ix_jobs_expiry", "expires_at", postgresql_where=text("finished_at IS NULL")),
    Index("uq_jobs_lease_token", "lease_token", unique=True, postgresql_where=text("lease_token IS NOT NULL")),
    Index("ix_jobs_of_owner", "owner_id", "created_at", "id"),
)

stage_runs = Table(
    "stage_runs",
    metadata,
    Column("token", Uuid, primary_key=True, comment="of the lease the run started with"),
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("attempt", Integer, nullable=False, comment="1 for the first start"),
    Column("rewind", Integer, nullable=False),
    Column("worker", Text, nullable=False),
    Column("ready_at", _time, nullable=False),
    Column("message_sent_at", _time, nullable=False),
    Column("started_at", _time, nullable=False),
    Column("finished_at", _time),
    Column("outcome", Text, nullable=False, server_default=text("'running'")),
    Column("timings", _json, comment="milliseconds by step, of a run that completed"),
    Column("cached", Boolean, nullable=False, server_default=text("false")),
    Column("error", _json),
    CheckConstraint(_one_of("stage", Stage), name="stage_known"),
    CheckConstraint(_one_of("outcome", Outcome), name="outcome_known"),
    CheckConstraint("(outcome = 'running') = (finished_at IS NULL)", name="ended_has_time"),
    Index("ix_stage_runs_job", "job_id", "started_at"),
    Index("uq_stage_runs_running", "job_id", unique=True, postgresql_where=text("outcome = 'running'")),
)

generations = Table(
    "generations",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False, comment="which of the job's answers, from 0"),
    Column("text", Text, nullable=False),
    Column("token_ids", ARRAY(Integer), nullable=False),
    Column("prompt_vectors", LargeBinary, nullable=False, comment="float32, little endian, row after row"),
    Column("n_vectors", Integer, nullable=False),
    Column("dim", Integer, nullable=False),
    CheckConstraint("octet_length(prompt_vectors) = 4 * n_vectors * dim", name="vectors_whole"),
)

results = Table(
    "results",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("model_fingerprint", Text, nullable=False),
)

answers = Table(
    "answers",
    metadata,
    Column("job_id", Uuid, ForeignKey("results.job_id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False, comment="for reading, without markup"),
    Column("raw_text", Text, nullable=False, comment="as the model wrote it"),
)

phrases = Table(
    "phrases",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False, comment="counts through all the job's answers"),
    Column("answer", Integer, nullable=False, comment="the n of its answer"),
    Column("text", Text),
    Column("span_start", Integer, comment="characters into the answer's text"),
    Column("span_end", Integer),
    Column("rle_counts", Text, nullable=False, comment="COCO compressed run lengths"),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("box", ARRAY(Double), comment="x1, y1, x2, y2; none for an empty mask"),
    Column("area", BigInteger, nullable=False),
    Column("score", Double, nullable=False),
    CheckConstraint("num_nulls(span_start, span_end) IN (0, 2)", name="span_whole"),
    CheckConstraint("box IS NULL OR cardinality(box) = 4", name="box_has_four"),
    ForeignKeyConstraint(["job_id", "answer"], ["answers.job_id", "answers.n"], ondelete="CASCADE"),
)

exports = Table(
    "exports",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("batch_id", Uuid, ForeignKey("batches.id", ondelete="SET NULL"), comment="none: its batch has gone"),
    Column("owner_id", Uuid, ForeignKey("owners.id"), nullable=False),
    Column("format", Text, nullable=False),
    Column("jobs", BigInteger, nullable=False, comment="how many of the batch had succeeded when it was asked for"),
    Column("state", Text, nullable=False, server_default=text("'queued'")),
    Column("attempt", Integer, nullable=False, server_default=text("0"), comment="builds that were begun"),
    Column("progress", Double, nullable=False, server_default=text("0"), comment="share of the jobs, 0 to 1"),
    Column("object_key", Text),
    Column("bytes", BigInteger),
    Column("created_at", _time, nullable=False, server_default=func.now()),
    Column("finished_at", _time),
    Column("expires_at", _time, comment="when its file and this row are removed"),
    Column("error", _json),
    CheckConstraint(_one_of("state", ExportState), name="state_known"),
    CheckConstraint(
        "(state IN ('succeeded', 'failed')) = (finished_at IS NOT NULL)"
        " AND num_nulls(finished_at, expires_at) IN (0, 2)",
        name="finished_has_times",
    ),
    CheckConstraint("(state = 'succeeded') = (num_nulls(object_key, bytes) = 0)", name="succeeded_has_file"),
    CheckConstraint("(error IS NOT NULL) = (state = 'failed')", name="failed_has_error"),
    Index("ix_exports_asked", "batch_id", "format", "created_at"),
    Index(
        "uq_exports_unfinished",
        "batch_id",
        "format",
        unique=True,
        postgresql_where=text("state IN ('queued', 'running')"),
    ),
    Index("ix_exports_expiry", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner_id", Uuid, ForeignKey("owners.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("operation", Text, nullable=False, comment="method and path of the request that the key stands for"),
    Column("token", Uuid, nullable=False, comment="of the claim that last began to carry it out"),
    Column("resource_id", Uuid, nullable=False, comment="reserved for what the request makes"),
    Column("leased_until", _time, comment="none once it is done"),
    Column("fingerprint", LargeBinary, comment="of the request; with the next four, once it is done"),
    Column("request_bytes", BigInteger),
    Column("status", Integer),
    Column("headers", _json),
    Column("body", LargeBinary, comment="none of an answer that must not be kept"),
    Column("created_at", _time, nullable=False, server_default=func.now()),
    Column("expires_at", _time, nullable=False),
    CheckConstraint("num_nulls(fingerprint, request_bytes, status, headers) IN (0, 4)", name="answer_whole"),
    CheckConstraint("(leased_until IS NULL) = (status IS NOT NULL)", name="done_or_under_way"),
    CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint_is_sha256"),
    Index("ix_idempotency_keys_token", "token", unique=True),
    Index("ix_idempotency_keys_expires_at", "expires_at"),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id"), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    Column("description", Text, nullable=False, server_default=text("''")),
    Column("secret", Text, nullable=False, comment="as it is, for every delivery is signed with it"),
    Column("previous_secret", Text, comment="signs as well, until previous_until"),
    Column("previous_until", _time),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("disabled_because", Text, comment="none when a person disabled it"),
    Column("created_at", _time, nullable=False, server_default=func.now()),
    Column("failures", Integer, nullable=False, server_default=text("0"), comment="since the last success"),
    Column("failing_since", _time),
    Column("resume_at", _time, nullable=False, server_default=func.now(), comment="nothing is sent before"),
    Column("rotation_id", Uuid, comment="of the last rotation, by which a repetition of its request finds it"),
    CheckConstraint("cardinality(events) > 0", name="has_events"),
    CheckConstraint("num_nulls(previous_secret, previous_until) IN (0, 2)", name="previous_secret_ends"),
    CheckConstraint("disabled_because IS NULL OR NOT enabled", name="enabled_needs_no_reason"),
    CheckConstraint(_one_of("disabled_because", DisabledBecause), name="reason_known"),
    CheckConstraint("(failures > 0) = (failing_since IS NOT NULL) AND failures >= 0", name="failing_has_time"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True, comment="the webhook-id of every attempt"),
    Column("endpoint_id", Uuid, ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), nullable=False),
    Column("event", Text, nullable=False),
    Column("payload", _json, nullable=False, comment="the body, the same in every attempt"),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("attempt", Integer, nullable=False, server_default=text("0"), comment="how many have begun"),
    Column("next_at", _time, comment="when the next attempt is due; while one is under way, when it counts as lost"),
    Column("created_at", _time, nullable=False, server_default=func.now(), index=True),
    Column("finished_at", _time),
    Column("log", _json, nullable=False, server_default=text("'[]'"), comment="what came of each attempt"),
    CheckConstraint(_one_of("state", DeliveryState), name="state_known"),
    CheckConstraint(
        "(state = 'pending') = (finished_at IS NULL) AND (state = 'pending') = (next_at IS NOT NULL)",
        name="pending_is_due",
    ),
    Index("ix_webhook_deliveries_endpoint", "endpoint_id", "id"),
    Index("ix_webhook_deliveries_due", "endpoint_id", "next_at", postgresql_where=text("state = 'pending'")),
)
