"""Direct uploads, and which deleted images still have bytes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column(
            "sha256", sa.Text(), nullable=False, comment="hex; this and the next two as the client declared them"
        ),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False, comment="where the client puts the bytes"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when it is swept, used or not, with whatever is at the key",
        ),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_uploads_sha256_is_hex")),
        sa.CheckConstraint("bytes > 0", name=op.f("ck_uploads_not_empty")),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_uploads_owner_id")),
        sa.PrimaryKeyConstraint("owner_id", "sha256", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_expires_at", "uploads", ["expires_at"], unique=False)
    # Nothing says which of the images deleted so far lost their bytes: the scheduler removes them once more.
    op.add_column(
        "images",
        sa.Column(
            "erased_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when a deleted one's bytes were removed; until then that is still to be done",
        ),
    )
    op.create_check_constraint(
        op.f("ck_images_erased_was_deleted"), "images", "erased_at IS NULL OR deleted_at IS NOT NULL"
    )
    op.create_index(
        "ix_images_age", "images", ["created_at"], unique=False, postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.create_index(
        "ix_images_to_erase",
        "images",
        ["deleted_at"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NOT NULL AND erased_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_images_to_erase", table_name="images")
    op.drop_index("ix_images_age", table_name="images")
    op.drop_constraint("ck_images_erased_was_deleted", "images", type_="check")
    op.drop_column("images", "erased_at")
    op.drop_table("uploads")
