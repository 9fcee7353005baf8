"""add activity, which charts are drawn of, sessions of the admin UI, and indexes that lists of a project go by."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_TIME = sa.DateTime(timezone=True)
# Of which tables: by what rows are looked for, and by what they are then sorted.
_LISTS = (
    ("requests", "project_id", "request_id"),
    ("requests", "token_id", "request_id"),
    ("tokens", "project_id", "id"),
    ("audit_events", "project_id", "id"),
    ("audit_events", "token_id", "id"),
    ("audit_events", "actor_id", "id"),
)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "activity",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.String(length=8), nullable=False),
        sa.Column("measure", sa.String(length=16), nullable=False),
        sa.Column("moment", _TIME, nullable=False),
        sa.Column("bucket", sa.String(length=64), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "unit", "measure", "moment", "bucket", name=op.f("pk_activity")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ui_sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=True),
        sa.Column("credential", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("is_remembered", sa.Boolean(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ui_sessions")),
        sa.UniqueConstraint("digest", name=op.f("uq_ui_sessions_digest")),
    )
    op.create_index(op.f("ix_ui_sessions_operator_id"), "ui_sessions", ["operator_id"])
    op.create_index(op.f("ix_ui_sessions_expires_at"), "ui_sessions", ["expires_at"])
    for table, key, order in _LISTS:
        op.create_index(op.f(f"ix_{table}_{key}_{order}"), table, [key, order])
        op.drop_index(op.f(f"ix_{table}_{key}"), table)


def downgrade() -> None:
    """Take back."""
    for table, key, order in _LISTS:
        op.create_index(op.f(f"ix_{table}_{key}"), table, [key])
        op.drop_index(op.f(f"ix_{table}_{key}_{order}"), table)
    op.drop_table("ui_sessions")
    op.drop_table("activity")
