"""Who is told of events, and what each is told."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from shared.tables.base import INSTANT, JSON, metadata, one_of
from shared.webhooks.events import DeliveryState, DisabledBecause

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
    Column("previous_until", INSTANT),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("disabled_because", Text, comment="none when a person disabled it"),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    Column("failures", Integer, nullable=False, server_default=text("0"), comment="since the last success"),
    Column("failing_since", INSTANT),
    Column("resume_at", INSTANT, nullable=False, server_default=func.now(), comment="nothing is sent before"),
    Column("rotation_id", Uuid, comment="of the last rotation, by which a repetition of its request finds it"),
    CheckConstraint("cardinality(events) > 0", name="has_events"),
    CheckConstraint("num_nulls(previous_secret, previous_until) IN (0, 2)", name="previous_secret_ends"),
    CheckConstraint("disabled_because IS NULL OR NOT enabled", name="enabled_needs_no_reason"),
    CheckConstraint(one_of("disabled_because", DisabledBecause), name="reason_known"),
    CheckConstraint("(failures > 0) = (failing_since IS NOT NULL) AND failures >= 0", name="failing_has_time"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True, comment="the webhook-id of every attempt"),
    Column("endpoint_id", Uuid, ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), nullable=False),
    Column("event", Text, nullable=False),
    Column("payload", JSON, nullable=False, comment="the body, the same in every attempt"),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("attempt", Integer, nullable=False, server_default=text("0"), comment="how many have begun"),
    Column("next_at", INSTANT, comment="when the next attempt is due; while one is under way, when it counts as lost"),
    Column("created_at", INSTANT, nullable=False, server_default=func.now(), index=True),
    Column("finished_at", INSTANT),
    Column("log", JSON, nullable=False, server_default=text("'[]'"), comment="what came of each attempt"),
    CheckConstraint(one_of("state", DeliveryState), name="state_known"),
    CheckConstraint(
        "(state = 'pending') = (finished_at IS NULL) AND (state = 'pending') = (next_at IS NOT NULL)",
        name="pending_is_due",
    ),
    Index("ix_webhook_deliveries_endpoint", "endpoint_id", "id"),
    Index("ix_webhook_deliveries_due", "endpoint_id", "next_at", postgresql_where=text("state = 'pending'")),
)
