"""What a request has made that broke off is known by that request: a batch by its digest, a rotation by its id."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "batches",
        sa.Column(
            "request_digest",
            sa.LargeBinary(),
            nullable=True,
            comment="by which the request that made it is known",
        ),
    )
    op.add_column(
        "webhook_endpoints",
        sa.Column(
            "rotation_id",
            sa.Uuid(),
            nullable=True,
            comment="of the last rotation, by which a repetition of its request finds it",
        ),
    )


def downgrade() -> None:
    op.drop_column("webhook_endpoints", "rotation_id")
    op.drop_column("batches", "request_digest")
