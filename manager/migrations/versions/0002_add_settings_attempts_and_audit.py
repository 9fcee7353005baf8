"""add settings of projects and tokens, attempts, and the audit.

Columns are added and dropped in place, which both databases can: batch mode would drop and remake a table on SQLite,
and dropping `projects` deletes, by its foreign keys, every upstream key and every token.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ADDED: list[tuple[str, str, "sa.types.TypeEngine[Any]", str]] = [
    ("projects", "fallback_urls", sa.JSON(none_as_null=True), "'[]'"),
    ("projects", "policy", sa.JSON(none_as_null=True), "'{}'"),
    ("projects", "cors_origins", sa.JSON(none_as_null=True), "'[]'"),
    ("projects", "features", sa.JSON(none_as_null=True), "'{}'"),
    ("tokens", "policy", sa.JSON(none_as_null=True), "'{}'"),
    ("requests", "attempts", sa.Integer(), "1"),
]
_INDEXED = ("action", "occurred_at", "project_id", "request_id", "token_id")


def upgrade() -> None:
    """Apply."""
    for table, name, kind, default in _ADDED:
        op.add_column(table, sa.Column(name, kind, nullable=False, server_default=sa.text(default)))
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=True),
        sa.Column("token_id", sa.Uuid(), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    for name in _INDEXED:
        op.create_index(op.f(f"ix_audit_events_{name}"), "audit_events", [name])


def downgrade() -> None:
    """Take back."""
    op.drop_table("audit_events")
    for table, name, _, _ in reversed(_ADDED):
        op.drop_column(table, name)
