"""add what may be seen of a project's requests, and rules about live ones.

Columns are added and dropped in place; see 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    nothing = sa.text("'{}'")
    column = sa.Column("inspection", sa.JSON(none_as_null=True), nullable=False, server_default=nothing)
    op.add_column("projects", column)
    # The data plane gets to know their names from now on: what it has been told is not all that it is to know.
    op.execute("UPDATE projects SET version = version + 1")
    op.create_table(
        "rules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=True),
        sa.Column("filter", sa.String(length=2000), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.Column("hold_seconds", sa.Integer(), nullable=False),
        sa.Column("on_deadline", sa.String(length=16), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_rules_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rules")),
        sa.UniqueConstraint("name", name=op.f("uq_rules_name")),
    )
    op.create_index(op.f("ix_rules_project_id"), "rules", ["project_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("rules")
    op.drop_column("projects", "inspection")
