"""What finished batches count is counted again: it was the jobs of all batches, and not of the one."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        UPDATE batches SET counts = coalesce(
            (SELECT jsonb_object_agg(state, jobs) FROM (
                SELECT state, count(*) AS jobs FROM jobs
                WHERE batch_id = batches.id AND batch_id IS NOT NULL GROUP BY state
            ) AS by_state), '{}'
        )
        WHERE counts IS NOT NULL
        """
    )


def downgrade() -> None:
    """What was wrong is not made wrong again."""
