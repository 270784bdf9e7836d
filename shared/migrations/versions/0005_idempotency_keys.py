"""Idempotency keys, and an owner's jobs by their age."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column(
            "operation", sa.Text(), nullable=False, comment="method and path of the request that the key stands for"
        ),
        sa.Column("token", sa.Uuid(), nullable=False, comment="of the claim that last began to carry it out"),
        sa.Column("resource_id", sa.Uuid(), nullable=False, comment="reserved for what the request makes"),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True, comment="none once it is done"),
        sa.Column(
            "fingerprint",
            sa.LargeBinary(),
            nullable=True,
            comment="of the request; with the next four, once it is done",
        ),
        sa.Column("request_bytes", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True, comment="none of an answer that must not be kept"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "num_nulls(fingerprint, request_bytes, status, headers) IN (0, 4)",
            name=op.f("ck_idempotency_keys_answer_whole"),
        ),
        sa.CheckConstraint(
            "(leased_until IS NULL) = (status IS NOT NULL)", name=op.f("ck_idempotency_keys_done_or_under_way")
        ),
        sa.CheckConstraint("octet_length(fingerprint) = 32", name=op.f("ck_idempotency_keys_fingerprint_is_sha256")),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_idempotency_keys_owner_id")),
        sa.PrimaryKeyConstraint("owner_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_token", "idempotency_keys", ["token"], unique=True)
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"], unique=False)
    op.create_index("ix_jobs_of_owner", "jobs", ["owner_id", "created_at", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_jobs_of_owner", "jobs")
    op.drop_table("idempotency_keys")
