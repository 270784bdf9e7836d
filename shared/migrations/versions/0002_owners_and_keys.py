"""Owners and API keys: what is stored so far belongs to the local owner."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LOCAL = "00000000-0000-7000-8000-000000000000"
_OWNED = ("images", "conversations", "jobs")


def upgrade() -> None:
    op.create_table(
        "owners",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "requests_per_minute", sa.Integer(), nullable=True, comment="none: the setting's, as with the next two"
        ),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=True),
        sa.Column("queued_jobs", sa.Integer(), nullable=True),
        sa.CheckConstraint("name <> ''", name=op.f("ck_owners_has_name")),
        sa.CheckConstraint(
            "requests_per_minute > 0 AND stored_bytes >= 0 AND queued_jobs >= 0",
            name=op.f("ck_owners_limits_sensible"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_owners")),
        sa.UniqueConstraint("name", name=op.f("uq_owners_name")),
    )
    op.execute(f"INSERT INTO owners (id, name) VALUES ('{LOCAL}', 'local')")
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False, comment="the secret's first characters, to tell it by"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "last_used_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="to within what the gateways keep in mind",
        ),
        sa.CheckConstraint("octet_length(secret_sha256) = 32", name=op.f("ck_api_keys_secret_hashed")),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_api_keys_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_api_keys_secret_sha256")),
    )
    op.create_index(op.f("ix_api_keys_owner_id"), "api_keys", ["owner_id"], unique=False)
    op.drop_constraint("fk_conversations_image_id", "conversations", type_="foreignkey")
    op.drop_constraint("fk_jobs_image_id", "jobs", type_="foreignkey")
    op.drop_constraint("pk_images", "images", type_="primary")
    for table in _OWNED:
        # The default is for the rows that are there; whoever writes a new one says whose it is.
        op.add_column(table, sa.Column("owner_id", sa.Uuid(), server_default=LOCAL, nullable=False))
        op.alter_column(table, "owner_id", server_default=None)
    op.create_primary_key("pk_images", "images", ["id", "owner_id"])
    op.create_foreign_key("fk_images_owner_id", "images", "owners", ["owner_id"], ["id"])
    for table in ("conversations", "jobs"):
        op.create_foreign_key(f"fk_{table}_image_id", table, "images", ["image_id", "owner_id"], ["id", "owner_id"])
    op.create_index(
        "ix_jobs_queued_of_owner", "jobs", ["owner_id"], unique=False, postgresql_where=sa.text("state = 'queued'")
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_queued_of_owner", "jobs")
    for table in ("conversations", "jobs"):
        op.drop_constraint(f"fk_{table}_image_id", table, type_="foreignkey")
    op.drop_constraint("fk_images_owner_id", "images", type_="foreignkey")
    op.drop_constraint("pk_images", "images", type_="primary")
    for table in _OWNED:
        op.drop_column(table, "owner_id")
    op.create_primary_key("pk_images", "images", ["id"])
    op.create_foreign_key("fk_conversations_image_id", "conversations", "images", ["image_id"], ["id"])
    op.create_foreign_key("fk_jobs_image_id", "jobs", "images", ["image_id"], ["id"])
    op.drop_table("api_keys")
    op.drop_table("owners")
