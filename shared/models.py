"""The frozen values that both planes speak of."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class UpstreamKey:
    """One provider key of a project as it is published: sealed for `upstream_keys:<id>`, never in the clear."""

    id: str
    sealed: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Project:
    """What the data plane needs to know of a project. `base_url` empty: the provider's own."""

    id: str
    provider: str
    is_active: bool
    base_url: str
    keys: tuple[UpstreamKey, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Token:
    """What the data plane needs to know of a token. `max_requests` None: no limit over its life."""

    id: str
    digest: str
    project_id: str
    label: str
    is_active: bool
    expires_at: datetime
    max_requests: int | None
    request_count: int
    last_used_at: datetime | None
    version: int


class Denial(StrEnum):
    """Why admission said no; the values are the error codes that clients see."""

    NOT_READY = "service_unavailable"
    TOKEN_NOT_FOUND = "token_not_found"  # noqa: S105 - an error code
    TOKEN_INACTIVE = "token_inactive"  # noqa: S105 - an error code
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - an error code
    PROJECT_INACTIVE = "project_inactive"
    ENDPOINT_NOT_FOUND = "endpoint_not_found"
    QUOTA_EXCEEDED = "quota_exceeded"


@dataclass(frozen=True, slots=True)
class Caller:
    """An admitted request's owner: which token, on behalf of which project, and its number on that token."""

    token_id: str
    token_label: str
    project: Project
    sequence: int


class Outcome(StrEnum):
    """How an admitted request ended."""

    FINISHED = "finished"
    CLIENT_ABORTED = "client_aborted"
    UPSTREAM_ABORTED = "upstream_aborted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Usage:
    """Provider tokens of one answer; None where the provider did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One admitted request, as the meter saw it end. `request_id` makes it countable exactly once.

    Times are milliseconds; `occurred_at` is when the request arrived, `first_byte_ms` when the first byte of the
    provider's body came (None: never). `sequence` is the request's number on its token, counted at admission.
    `status` is what the client got; 0 means that no answer was sent.
    """

    request_id: str
    occurred_at: datetime
    project_id: str
    token_id: str
    upstream_key_id: str | None
    sequence: int
    provider: str
    route: str
    method: str
    model: str | None
    status: int
    outcome: Outcome
    error_code: str | None
    is_stream: bool
    chunks: int
    request_bytes: int
    response_bytes: int
    duration_ms: float
    first_byte_ms: float | None
    usage: Usage
