"""add operators, idempotent answers, leases, job runs, tombstones, the audit's chain, refreshed tokens.

Columns are added and dropped in place; see 0002.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TIME = sa.DateTime(timezone=True)
_PENDING = sa.text("published_version < version")
_INDEXED = [
    ("projects", "deleted_at", False),
    ("tokens", "previous_digest", True),
    ("audit_events", "subject_id", False),
    ("audit_events", "actor_id", False),
    ("audit_events", "position", True),
]


def _columns() -> "list[tuple[str, sa.Column[Any]]]":
    return [
        ("projects", sa.Column("deleted_at", _TIME, nullable=True)),
        ("tokens", sa.Column("refreshed_at", _TIME, nullable=True)),
        ("tokens", sa.Column("previous_digest", sa.String(length=64), nullable=True)),
        ("tokens", sa.Column("previous_until", _TIME, nullable=True)),
        ("requests", sa.Column("recorded_at", _TIME, nullable=True)),
        ("audit_events", sa.Column("subject_id", sa.Uuid(), nullable=True)),
        ("audit_events", sa.Column("address", sa.String(length=64), nullable=True)),
        ("audit_events", sa.Column("actor_id", sa.Uuid(), nullable=True)),
        ("audit_events", sa.Column("chained_at", _TIME, nullable=True)),
        ("audit_events", sa.Column("position", sa.BigInteger(), nullable=True)),
        ("audit_events", sa.Column("mac", sa.String(length=64), nullable=True)),
    ]


_SUMS = [
    *("requests", "prompt_tokens", "completion_tokens", "total_tokens", "request_bytes", "response_bytes"),
    *("cached_tokens", "cache_write_tokens", "reasoning_tokens", "audio_prompt_tokens", "audio_completion_tokens"),
    *("cost_nano_usd", "unpriced_requests", "estimated_requests", "duration_ms"),
]
_KINDS = ["project_id", "token_id", "route", "model", "status_class"]


def _sum(name: str) -> "sa.Column[Any]":
    if name == "duration_ms":
        return sa.Column(name, sa.Double(), nullable=False)
    came_later = name in _SUMS[6:]
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0") if came_later else None)


def _add_days() -> None:
    op.create_table(
        "usage_daily",
        sa.Column("day", _TIME, nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("token_id", sa.Uuid(), nullable=False),
        sa.Column("route", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("status_class", sa.Integer(), autoincrement=False, nullable=False),
        *map(_sum, _SUMS),
        sa.PrimaryKeyConstraint("day", *_KINDS, name=op.f("pk_usage_daily")),
    )
    for name in _KINDS[:2]:
        op.create_index(op.f(f"ix_usage_daily_{name}"), "usage_daily", [name])
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    day = "strftime('%Y-%m-%d 00:00:00.000000', hour)" if is_sqlite else "date_trunc('day', hour, 'UTC')"
    kinds, sums = ", ".join(_KINDS), ", ".join(f"sum({name})" for name in _SUMS)
    columns = f"day, {kinds}, {', '.join(_SUMS)}"
    op.execute(
        f"INSERT INTO usage_daily ({columns}) SELECT {day}, {kinds}, {sums} FROM usage GROUP BY {day}, {kinds}"  # noqa: S608
    )


def upgrade() -> None:
    """Apply."""
    for table, column in _columns():
        op.add_column(table, column)
    for table, name, is_unique in _INDEXED:
        op.create_index(op.f(f"ix_{table}_{name}"), table, [name], unique=is_unique)
    _add_days()
    op.create_index("ix_requests_recorded_at", "requests", ["recorded_at", "request_id"])
    # Next to all tokens are active: whoever goes by this index has to sort them all.
    op.drop_index(op.f("ix_tokens_is_active"), table_name="tokens")
    op.create_index("ix_tokens_label_id", "tokens", ["label", "id"])
    op.create_index("ix_tokens_pending", "tokens", ["id"], sqlite_where=_PENDING, postgresql_where=_PENDING)
    op.create_table(
        "tombstones",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("purged_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tombstones")),
    )
    op.create_table(
        "operators",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("project_ids", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("masked", sa.String(length=64), nullable=False),
        sa.Column("expires_at", _TIME, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("last_used_at", _TIME, nullable=True),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operators")),
        sa.UniqueConstraint("name", name=op.f("uq_operators_name")),
        sa.UniqueConstraint("digest", name=op.f("uq_operators_digest")),
    )
    op.create_table(
        "idempotent_answers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("principal", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotent_answers")),
    )
    op.create_index(op.f("ix_idempotent_answers_created_at"), "idempotent_answers", ["created_at"])
    unique = op.f("ix_idempotent_answers_principal")
    op.create_index(unique, "idempotent_answers", ["principal", "key"], unique=True)
    op.create_table(
        "database_identity",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_database_identity")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("until", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "export_cursors",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.Column("batch_end", sa.String(length=255), nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_export_cursors")),
    )
    op.create_table(
        "job_runs",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("report", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_runs")),
    )
    op.create_table(
        "audit_chain",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("chain_id", sa.String(length=16), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.String(length=64), nullable=False),
        sa.Column("kept_position", sa.BigInteger(), nullable=False),
        sa.Column("kept_mac", sa.String(length=64), nullable=False),
        sa.Column("seal", sa.String(length=64), nullable=False),
        sa.Column("sealed_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_chain")),
    )


def downgrade() -> None:
    """Take back. Operators and the audit's chain are gone then; projects that were deleted are only inactive."""
    op.drop_table("usage_daily")
    for name in (
        "audit_chain",
        "job_runs",
        "export_cursors",
        "leases",
        "database_identity",
        "idempotent_answers",
        "operators",
        "tombstones",
    ):
        op.drop_table(name)
    for name in ("ix_tokens_pending", "ix_tokens_label_id"):
        op.drop_index(name, table_name="tokens")
    op.create_index(op.f("ix_tokens_is_active"), "tokens", ["is_active"])
    op.drop_index("ix_requests_recorded_at", table_name="requests")
    for table, name, _ in reversed(_INDEXED):
        op.drop_index(op.f(f"ix_{table}_{name}"), table_name=table)
    for table, column in reversed(_columns()):
        op.drop_column(table, column.name)
