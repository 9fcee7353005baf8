"""add limits, prices, and what requests cost.

Columns are added and dropped in place; see 0002.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TOKENS = ("cached", "cache_write", "reasoning", "audio_prompt", "audio_completion")
_SUMS = (*(f"{kind}_tokens" for kind in _TOKENS), "cost_nano_usd", "unpriced_requests", "estimated_requests")
_RATES = ("prompt", "cached", "cache_write", "completion", "reasoning", "audio_prompt", "audio_completion", "request")
_LIMITS = ("projects", "tokens")
_INDEXED = [("prices", "provider"), ("prices", "source"), ("usage", "project_id"), ("usage", "token_id")]


def _limits(name: str) -> "sa.Column[Any]":
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=False, server_default=sa.text("'[]'"))


def _of_requests() -> "list[sa.Column[Any]]":
    counts: list[sa.Column[Any]] = [sa.Column(f"{kind}_tokens", sa.BigInteger(), nullable=True) for kind in _TOKENS]
    return [
        *counts,
        sa.Column("is_estimate", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("model_asked", sa.String(length=256), nullable=True),
        sa.Column("finish_reason", sa.String(length=64), nullable=True),
        sa.Column("provider_request_id", sa.String(length=128), nullable=True),
        sa.Column("provider_ms", sa.Double(), nullable=True),
        sa.Column("tokens_per_second", sa.Double(), nullable=True),
        sa.Column("cost_nano_usd", sa.BigInteger(), nullable=True),
    ]


def upgrade() -> None:
    """Apply."""
    for table in _LIMITS:
        op.add_column(table, _limits("limits"))
    for column in _of_requests():
        op.add_column("requests", column)
    for name in _SUMS:
        op.add_column("usage", sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    # What was used before there were prices has a cost that nobody knows, and not none.
    op.execute("UPDATE usage SET unpriced_requests = requests WHERE total_tokens > 0")
    op.create_table(
        "publications",
        sa.Column("name", sa.String(length=32), nullable=False),
        _limits("value"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("published_version", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_publications")),
    )
    op.create_table(
        "prices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("above", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in _RATES),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prices")),
    )
    for table, name in _INDEXED:
        op.create_index(op.f(f"ix_{table}_{name}"), table, [name])


def downgrade() -> None:
    """Take back."""
    for table, name in reversed(_INDEXED):
        op.drop_index(op.f(f"ix_{table}_{name}"), table)
    op.drop_table("prices")
    op.drop_table("publications")
    for name in reversed(_SUMS):
        op.drop_column("usage", name)
    for column in reversed(_of_requests()):
        op.drop_column("requests", column.name)
    for table in reversed(_LIMITS):
        op.drop_column(table, "limits")
