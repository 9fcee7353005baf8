"""What alembic runs: the migrations, on the connection that manager.db hands in."""

from typing import cast

import sqlalchemy as sa
from alembic import context

from manager.tables import Base

connection = cast(sa.Connection, context.config.attributes["connection"])
# Batch mode: SQLite cannot alter a table in place.
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
