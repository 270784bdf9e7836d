"""Alembic's entry: runs the revisions on the connection that `shared.database.migrate` holds."""

from alembic import context

from shared.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
