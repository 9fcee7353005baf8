"""The SQL record: SQLAlchemy mapping of every table, the same on SQLite and PostgreSQL."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
import uuid_utils.compat
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from shared.inspection import Inspection
from shared.models import Limit, Policy
from shared.rules_schema import LONGEST_FILTER

NAME_LENGTH = 200
# A table marked so holds nothing that is to be backed up, or moved to another database.
PASSING = "is_passing"


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime; refuses naive ones. SQLite keeps no zone, so it is put back on reading."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Convert to UTC on the way in; raises ValueError for a naive datetime."""
        if value is not None and value.tzinfo is None:
            raise ValueError("naive datetimes have no place in this database")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Attach UTC on the way out."""
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


class PolicyJson(sa.types.TypeDecorator[Policy]):
    """A policy, kept as JSON; what is left out reads as no limit."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Policy | None, dialect: sa.Dialect) -> dict[str, Any] | None:
        """Spell out on the way in."""
        return None if value is None else asdict(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Policy | None:
        """Make a value of it on the way out; raises msgspec.ValidationError for what is no policy."""
        return None if value is None else msgspec.convert(value, Policy)


class InspectionJson(sa.types.TypeDecorator[Inspection]):
    """What may be seen of a project's requests, kept as JSON; what is left out reads as usual."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Inspection | None, dialect: sa.Dialect) -> dict[str, Any] | None:
        """Spell out on the way in."""
        return None if value is None else asdict(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Inspection | None:
        """Make a value of it on the way out; raises msgspec.ValidationError for what is none."""
        return None if value is None else msgspec.convert(value, Inspection)


class LimitsJson(sa.types.TypeDecorator[tuple[Limit, ...]]):
    """Limits, kept as a JSON list."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: tuple[Limit, ...] | None, dialect: sa.Dialect) -> list[dict[str, Any]] | None:
        """Spell out on the way in."""
        return None if value is None else [asdict(limit) for limit in value]

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> tuple[Limit, ...] | None:
        """Make values of it on the way out; raises msgspec.ValidationError for what is no limit."""
        return None if value is None else msgspec.convert(value, tuple[Limit, ...])


_JSON = sa.JSON(none_as_null=True)
_NONE_YET = sa.text("0")
_NO_ENTRIES = sa.text("'[]'")
_NOTHING = sa.text("'{}'")


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can alter them on both databases."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: UtcDateTime(),
        UUID: sa.Uuid(),
        Policy: PolicyJson(),
        Inspection: InspectionJson(),
        tuple[Limit, ...]: LimitsJson(),
        list[str]: _JSON,
        list[str] | None: _JSON,
        dict[str, bool]: _JSON,
        dict[str, Any]: _JSON,
    }


def new_id() -> UUID:
    """Return a UUIDv7: unique, and sorted by time of creation."""
    return uuid_utils.compat.uuid7()


class Project(Base):
    """A tenant: which provider it may call, with which keys and how; see shared.models.Project.

    `version` grows with each published change, also of its keys. One that is deleted keeps its name until it is
    purged.
    """

    __tablename__ = "projects"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(sa.String(NAME_LENGTH), unique=True)
    provider: Mapped[str] = mapped_column(sa.String(64))
    base_url: Mapped[str] = mapped_column(sa.String(2048), default="")
    fallback_urls: Mapped[list[str]] = mapped_column(default=list, server_default=_NO_ENTRIES)
    policy: Mapped[Policy] = mapped_column(default=Policy(), server_default=_NOTHING)
    cors_origins: Mapped[list[str]] = mapped_column(default=list, server_default=_NO_ENTRIES)
    features: Mapped[dict[str, bool]] = mapped_column(default=dict, server_default=_NOTHING)
    limits: Mapped[tuple[Limit, ...]] = mapped_column(default=(), server_default=_NO_ENTRIES)
    inspection: Mapped[Inspection] = mapped_column(default=Inspection(), server_default=_NOTHING)
    is_active: Mapped[bool] = mapped_column(default=True)
    version: Mapped[int] = mapped_column(default=1)
    published_version: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deactivated_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None] = mapped_column(index=True)

    keys: Mapped[list["UpstreamKey"]] = relationship(
        back_populates="project",
        cascade="all, delete-orphan",
        order_by="UpstreamKey.created_at, UpstreamKey.id",
        lazy="selectin",
    )


class UpstreamKey(Base):
    """A provider key of a project: sealed, and as a mask that may be shown."""

    __tablename__ = "upstream_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    project_id: Mapped[UUID] = mapped_column(sa.ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    label: Mapped[str] = mapped_column(sa.String(NAME_LENGTH), default="")
    sealed: Mapped[str] = mapped_column(sa.Text)
    masked: Mapped[str] = mapped_column(sa.String(64))
    weight: Mapped[int] = mapped_column(default=1)
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]

    project: Mapped[Project] = relationship(back_populates="keys")


class Token(Base):
    """A withering token, known by its digest only. `request_count` follows the counter that admission keeps.

    After a refresh, the secret of `previous_digest` works as well until `previous_until`.
    """

    __tablename__ = "tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    project_id: Mapped[UUID] = mapped_column(sa.ForeignKey("projects.id", ondelete="CASCADE"))
    label: Mapped[str] = mapped_column(sa.String(NAME_LENGTH), default="")
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    masked: Mapped[str] = mapped_column(sa.String(64))
    is_active: Mapped[bool] = mapped_column(default=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    max_requests: Mapped[int | None] = mapped_column(sa.BigInteger)
    request_count: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    policy: Mapped[Policy] = mapped_column(default=Policy(), server_default=_NOTHING)
    limits: Mapped[tuple[Limit, ...]] = mapped_column(default=(), server_default=_NO_ENTRIES)
    version: Mapped[int] = mapped_column(default=1)
    published_version: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    refreshed_at: Mapped[datetime | None]
    previous_digest: Mapped[str | None] = mapped_column(sa.String(64), index=True, unique=True)
    previous_until: Mapped[datetime | None]

    # What waits to be published is looked for all the time, and is next to nothing. Lists go by the id.
    __table_args__ = (
        sa.Index("ix_tokens_label_id", "label", "id"),
        sa.Index("ix_tokens_project_id_id", "project_id", "id"),
        sa.Index(
            "ix_tokens_pending",
            "id",
            sqlite_where=sa.text("published_version < version"),
            postgresql_where=sa.text("published_version < version"),
        ),
    )


class Tombstone(Base):
    """A project or token (`kind`) that was purged, until Redis has heard of it; `digest` is that of a token."""

    __tablename__ = "tombstones"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(16))
    digest: Mapped[str | None] = mapped_column(sa.String(64))
    version: Mapped[int]
    purged_at: Mapped[datetime]


class Operator(Base):
    """Somebody, or something, that may use the management API; known by the digest of its token only.

    Without `project_ids` it may see every project, else those alone. See manager/principals.py for the roles.
    """

    __tablename__ = "operators"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(sa.String(NAME_LENGTH), unique=True)
    role: Mapped[str] = mapped_column(sa.String(16))
    project_ids: Mapped[list[str] | None]
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    masked: Mapped[str] = mapped_column(sa.String(64))
    expires_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class IdempotentAnswer(Base):
    """What was answered to a request with an `Idempotency-Key`, sealed, for the same request of the same principal."""

    __tablename__ = "idempotent_answers"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    principal: Mapped[str] = mapped_column(sa.String(64))
    key: Mapped[str] = mapped_column(sa.String(255))
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    status: Mapped[int]
    sealed: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = (sa.Index("ix_idempotent_answers_principal", "principal", "key", unique=True),)


class DatabaseIdentity(Base):
    """The id of this database, in the one row that there is; see manager/database_identity.py."""

    __tablename__ = "database_identity"

    name: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    id: Mapped[UUID]


class Lease(Base):
    """Which process does something that only one may do at a time, and until when unless it renews."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(sa.String(128))
    until: Mapped[datetime]


class JobRun(Base):
    """The latest run of a job, its report, and why it failed if it did; `attempts` counts runs since one succeeded."""

    __tablename__ = "job_runs"

    name: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(sa.String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    report: Mapped[dict[str, Any]]
    reason: Mapped[str] = mapped_column(sa.Text, default="")


class ExportCursor(Base):
    """How far rows of a kind (`requests`, `audit`) have been shipped; see manager/export.py.

    `batch_end` is how far the batch goes that is on its way, empty if there is none.
    """

    __tablename__ = "export_cursors"

    name: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    value: Mapped[str] = mapped_column(sa.String(255))
    batch_end: Mapped[str] = mapped_column(sa.String(255), default="")
    updated_at: Mapped[datetime]


class Publication(Base):
    """What is published once for everybody: the limits of everything (`limits`), the prices and the rules.

    `value` is that of the limits; for the others it is nothing, and only the version tells that they have changed.
    """

    __tablename__ = "publications"

    name: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    value: Mapped[tuple[Limit, ...]] = mapped_column(default=(), server_default=_NO_ENTRIES)
    version: Mapped[int] = mapped_column(default=1)
    published_version: Mapped[int] = mapped_column(default=0)
    updated_at: Mapped[datetime]


class Rule(Base):
    """A rule about live requests, see shared.rules_schema.Rule; of all projects if it has none.

    They are asked in the order of their `place`, then of their ids. One that is not active, or over, is never asked.
    """

    __tablename__ = "rules"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(sa.String(NAME_LENGTH), unique=True)
    project_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    filter: Mapped[str] = mapped_column(sa.String(LONGEST_FILTER))
    action: Mapped[str] = mapped_column(sa.String(16))
    tag: Mapped[str] = mapped_column(sa.String(64), default="")
    hold_seconds: Mapped[int]
    on_deadline: Mapped[str] = mapped_column(sa.String(16))
    is_active: Mapped[bool] = mapped_column(default=True)
    place: Mapped[int]
    expires_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Price(Base):
    """One price; see shared.prices.Price. `source` is what it was taken from, empty for an override.

    There is one for each provider, model, beginning (`valid_from`, null: ever) and size of prompt (`above`).
    """

    __tablename__ = "prices"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    provider: Mapped[str] = mapped_column(sa.String(64), index=True)
    model: Mapped[str] = mapped_column(sa.String(256))
    above: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    valid_from: Mapped[datetime | None]
    valid_until: Mapped[datetime | None]
    prompt: Mapped[int | None] = mapped_column(sa.BigInteger)
    cached: Mapped[int | None] = mapped_column(sa.BigInteger)
    cache_write: Mapped[int | None] = mapped_column(sa.BigInteger)
    completion: Mapped[int | None] = mapped_column(sa.BigInteger)
    reasoning: Mapped[int | None] = mapped_column(sa.BigInteger)
    audio_prompt: Mapped[int | None] = mapped_column(sa.BigInteger)
    audio_completion: Mapped[int | None] = mapped_column(sa.BigInteger)
    request: Mapped[int | None] = mapped_column(sa.BigInteger)
    source: Mapped[str] = mapped_column(sa.String(64), default="", index=True)
    updated_at: Mapped[datetime]


class Request(Base):
    """One admitted request as the meter saw it end; kept for the retention time. See shared.models.UsageEvent.

    `recorded_at` is when it was written down, or corrected, here; null for those of earlier releases.
    `cost_nano_usd` is by the prices that held when it arrived; null means that it is not known, and never nothing.
    """

    __tablename__ = "requests"

    request_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(index=True)
    project_id: Mapped[UUID]
    token_id: Mapped[UUID]
    upstream_key_id: Mapped[UUID | None]
    sequence: Mapped[int] = mapped_column(sa.BigInteger)
    provider: Mapped[str] = mapped_column(sa.String(64))
    route: Mapped[str] = mapped_column(sa.String(128))
    method: Mapped[str] = mapped_column(sa.String(16))
    model: Mapped[str | None] = mapped_column(sa.String(256))
    status: Mapped[int]
    outcome: Mapped[str] = mapped_column(sa.String(32))
    error_code: Mapped[str | None] = mapped_column(sa.String(64))
    is_stream: Mapped[bool]
    chunks: Mapped[int]
    request_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    response_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    duration_ms: Mapped[float]
    first_byte_ms: Mapped[float | None]
    prompt_tokens: Mapped[int | None] = mapped_column(sa.BigInteger)
    completion_tokens: Mapped[int | None] = mapped_column(sa.BigInteger)
    total_tokens: Mapped[int | None] = mapped_column(sa.BigInteger)
    attempts: Mapped[int] = mapped_column(default=1, server_default=sa.text("1"))
    cached_tokens: Mapped[int | None] = mapped_column(sa.BigInteger)
    cache_write_tokens: Mapped[int | None] = mapped_column(sa.BigInteger)
    reasoning_tokens: Mapped[int | None] = mapped_column(sa.BigInteger)
    audio_prompt_tokens: Mapped[int | None] = mapped_column(sa.BigInteger)
    audio_completion_tokens: Mapped[int | None] = mapped_column(sa.BigInteger)
    is_estimate: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    model_asked: Mapped[str | None] = mapped_column(sa.String(256))
    finish_reason: Mapped[str | None] = mapped_column(sa.String(64))
    provider_request_id: Mapped[str | None] = mapped_column(sa.String(128))
    provider_ms: Mapped[float | None]
    tokens_per_second: Mapped[float | None]
    cost_nano_usd: Mapped[int | None] = mapped_column(sa.BigInteger)
    recorded_at: Mapped[datetime | None]

    # Lists go by the id: the newest ones of a project are found without a look at all that it has.
    __table_args__ = (
        sa.Index("ix_requests_recorded_at", "recorded_at", "request_id"),
        sa.Index("ix_requests_project_id_request_id", "project_id", "request_id"),
        sa.Index("ix_requests_token_id_request_id", "token_id", "request_id"),
    )


class _Sums:
    """What usage is rolled up by besides the time, and its sums.

    The model is '' if unknown, the class of status 0, 2, 4 or 5. `cost_nano_usd` is the sum of what is known;
    `unpriced_requests` used tokens at a cost that is not.
    """

    project_id: Mapped[UUID] = mapped_column(primary_key=True, index=True)
    token_id: Mapped[UUID] = mapped_column(primary_key=True, index=True)
    route: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    model: Mapped[str] = mapped_column(sa.String(256), primary_key=True)
    status_class: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    requests: Mapped[int] = mapped_column(sa.BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    completion_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    total_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    request_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    response_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    duration_ms: Mapped[float]
    cached_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default=_NONE_YET)
    cache_write_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default=_NONE_YET)
    reasoning_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default=_NONE_YET)
    audio_prompt_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default=_NONE_YET)
    audio_completion_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default=_NONE_YET)
    cost_nano_usd: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default=_NONE_YET)
    unpriced_requests: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default=_NONE_YET)
    estimated_requests: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default=_NONE_YET)


class HourlyUsage(_Sums, Base):
    """Usage rolled up per hour."""

    __tablename__ = "usage"

    hour: Mapped[datetime] = mapped_column(primary_key=True, sort_order=-1)


class DailyUsage(_Sums, Base):
    """The same per day of UTC, so that a month is summed up quickly."""

    __tablename__ = "usage_daily"

    day: Mapped[datetime] = mapped_column(primary_key=True, sort_order=-1)


class Activity(Base):
    """What went on in a minute, an hour or a day of UTC (`unit`) in a project: counts that charts are drawn of.

    `measure` is what is counted by `bucket`, see manager/activity.py. What went on in all projects together has rows of
    its own, so that a chart of everything reads as few rows as one of a project.
    """

    __tablename__ = "activity"

    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit: Mapped[str] = mapped_column(sa.String(8), primary_key=True)
    measure: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    moment: Mapped[datetime] = mapped_column(primary_key=True)
    bucket: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    amount: Mapped[int] = mapped_column(sa.BigInteger)

    # What a chart is drawn of lies side by side.
    __table_args__ = {"sqlite_with_rowid": False}


class UiSession(Base):
    """Somebody who is signed in to the admin UI; `digest` is that of the secret in the cookie.

    An operator's role and projects are those of its row. Of the management token, and of people whom an issuer vouches
    for, they are kept here; `credential` is a digest of the token that was shown, whose end is that of its sessions, or
    for people of the settings that say who may sign in.
    """

    __tablename__ = "ui_sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    operator_id: Mapped[UUID | None] = mapped_column(index=True)
    credential: Mapped[str | None] = mapped_column(sa.String(64))
    name: Mapped[str] = mapped_column(sa.String(NAME_LENGTH))
    role: Mapped[str] = mapped_column(sa.String(16))
    is_remembered: Mapped[bool]
    address: Mapped[str | None] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = {"info": {PASSING: True}}


class AuditEvent(Base):
    """Who did what to what, from where, and how it went. It names what may be gone by now, so it refers to no table.

    `actor_id` is the operator who did it, if it was one. `subject_id` is what was done to if it is neither a project
    nor a token. `position`, `chained_at` and `mac` chain it to the row before it; they are null until the chain is
    extended, see manager/audit_chain.py.
    """

    __tablename__ = "audit_events"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    occurred_at: Mapped[datetime] = mapped_column(index=True)
    action: Mapped[str] = mapped_column(sa.String(64), index=True)
    actor: Mapped[str] = mapped_column(sa.String(NAME_LENGTH))
    actor_id: Mapped[UUID | None]
    outcome: Mapped[str] = mapped_column(sa.String(32))
    project_id: Mapped[UUID | None]
    token_id: Mapped[UUID | None]
    request_id: Mapped[str | None] = mapped_column(sa.String(64), index=True)
    subject_id: Mapped[UUID | None] = mapped_column(index=True)
    address: Mapped[str | None] = mapped_column(sa.String(64))
    detail: Mapped[dict[str, Any]]
    position: Mapped[int | None] = mapped_column(sa.BigInteger, index=True, unique=True)
    chained_at: Mapped[datetime | None]
    mac: Mapped[str | None] = mapped_column(sa.String(64))

    __table_args__ = (
        sa.Index("ix_audit_events_project_id_id", "project_id", "id"),
        sa.Index("ix_audit_events_token_id_id", "token_id", "id"),
        sa.Index("ix_audit_events_actor_id_id", "actor_id", "id"),
    )


class AuditChain(Base):
    """The end of the audit's chain (`position`, `mac`), its sealed key, and what retention has cut off its beginning.

    There is one row. The first event kept follows on `kept_position`, whose code was `kept_mac`; `chain_id` tells it
    from a chain that was begun anew; `seal` authenticates the row itself.
    """

    __tablename__ = "audit_chain"

    name: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    chain_id: Mapped[str] = mapped_column(sa.String(16), default="")
    position: Mapped[int] = mapped_column(sa.BigInteger)
    mac: Mapped[str] = mapped_column(sa.String(64))
    kept_position: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    kept_mac: Mapped[str] = mapped_column(sa.String(64), default="")
    seal: Mapped[str] = mapped_column(sa.String(64))
    sealed_key: Mapped[str] = mapped_column(sa.Text)
