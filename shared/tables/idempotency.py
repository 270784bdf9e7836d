"""Requests that take effect once however often they are sent, and their answers."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
)

from shared.tables.base import INSTANT, JSON, metadata

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner_id", Uuid, ForeignKey("owners.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("operation", Text, nullable=False, comment="method and path of the request that the key stands for"),
    Column("token", Uuid, nullable=False, comment="of the claim that last began to carry it out"),
    Column("resource_id", Uuid, nullable=False, comment="reserved for what the request makes"),
    Column("leased_until", INSTANT, comment="none once it is done"),
    Column("fingerprint", LargeBinary, comment="of the request; with the next four, once it is done"),
    Column("request_bytes", BigInteger),
    Column("status", Integer),
    Column("headers", JSON),
    Column("body", LargeBinary, comment="none of an answer that must not be kept"),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    Column("expires_at", INSTANT, nullable=False),
    CheckConstraint("num_nulls(fingerprint, request_bytes, status, headers) IN (0, 4)", name="answer_whole"),
    CheckConstraint("(leased_until IS NULL) = (status IS NOT NULL)", name="done_or_under_way"),
    CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint_is_sha256"),
    Index("ix_idempotency_keys_token", "token", unique=True),
    Index("ix_idempotency_keys_expires_at", "expires_at"),
)
