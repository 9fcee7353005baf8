"""The frozen values that both planes speak of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import msgspec

from shared.inspection import Inspection

# Numbers are exact up to here in JSON as many read it, in Lua, and so in every limit.
MOST = 2**53


class Feature(StrEnum):
    """Optional behaviour, each switchable for a provider (in its table) and for a project (which has the last word)."""

    RETRIES = "retries"
    KEY_FAILOVER = "key_failover"
    FALLBACK = "fallback"
    BREAKER = "breaker"
    VALIDATION = "validation"
    # Ask OpenAI-like streams for their usage, and keep what was only asked for by us from the client.
    STREAM_USAGE = "stream_usage"
    # End a stream that outruns the token or money budget of its project or token.
    BUDGET_CUT = "budget_cut"


@dataclass(frozen=True, slots=True)
class UpstreamKey:
    """One provider key of a project as it is published: sealed for `upstream_keys:<id>`, never in the clear."""

    id: str
    sealed: str = field(repr=False)
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be asked for. Models are globs, the denied ones win, and no allowed ones means all.

    `max_values` caps numeric parameters of the query and of a body's top level; `denied_parameters` may not be sent.
    """

    allowed_models: tuple[str, ...] = ()
    denied_models: tuple[str, ...] = ()
    denied_parameters: tuple[str, ...] = ()
    max_values: Mapping[str, float] = field(default_factory=dict)


class Measure(StrEnum):
    """What a limit counts. `TOKENS` are the provider's, prompt and completion together; `COST` is in nano-USD."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    COST = "cost"
    CONCURRENT = "concurrent"


class Window(StrEnum):
    """For how long a limit counts. `LIFE` never starts anew; days and months are those of UTC."""

    LIFE = "life"
    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class OnOutage(StrEnum):
    """What holds for a limit while Redis knows the caller but cannot count: nobody passes, everybody, or a share.

    `LOCAL_SHARE`: each worker counts by itself, up to the limit divided by the number of workers.
    """

    CLOSED = "closed"
    OPEN = "open"
    LOCAL_SHARE = "local_share"


# The windows that make sense for each measure; concurrent requests have no window, which is written as life.
WINDOWS = {
    Measure.REQUESTS: frozenset({Window.LIFE, Window.SECOND, Window.MINUTE, Window.HOUR, Window.DAY}),
    Measure.TOKENS: frozenset({Window.LIFE, Window.MINUTE, Window.DAY, Window.MONTH}),
    Measure.COST: frozenset({Window.LIFE, Window.DAY, Window.MONTH}),
    Measure.CONCURRENT: frozenset({Window.LIFE}),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` of a measure within a window; one for each pair of them.

    Requests per second to day are a rate (GCRA): `burst` of them may come at once (None: `amount`), and they come back
    evenly over the window. Everything else is counted within calendar windows, starting at zero in each.
    """

    measure: Measure
    window: Window
    amount: int
    burst: int | None = None
    on_outage: OnOutage = OnOutage.CLOSED


class Scope(StrEnum):
    """Whose requests a limit counts together: a token's, those of all tokens of a project, or all."""

    TOKEN = "token"  # noqa: S105 - a scope
    PROJECT = "project"
    GLOBAL = "global"


@dataclass(frozen=True, slots=True)
class Amounts:
    """Provider tokens and cost (nano-USD) of one request, at least zero; None where it is not known (yet)."""

    tokens: int | None = None
    cost: int | None = None


# Of a request that the provider does not charge for.
NOTHING = Amounts(0, 0)


class LimitState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How much of a limit is left, and in how many milliseconds all of it is there again (None: never).

    Several come with each admission, so this is what Python makes fastest.
    """

    scope: Scope
    measure: Measure
    window: Window
    amount: int
    remaining: int
    reset_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """What the data plane needs to know of a project.

    `base_url` empty: the provider's own. `fallback_urls` take its place, in order, when it is down. `cors_origins`
    are the origins whose pages may call; none: no CORS at all. `features` holds only what differs from the provider.
    `limits` are of all its tokens together. `name` is for whoever looks on.
    """

    id: str
    provider: str
    is_active: bool
    base_url: str
    keys: tuple[UpstreamKey, ...]
    version: int
    fallback_urls: tuple[str, ...] = ()
    policy: Policy = Policy()
    cors_origins: tuple[str, ...] = ()
    features: Mapping[Feature, bool] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    name: str = ""
    inspection: Inspection = Inspection()


@dataclass(frozen=True, slots=True)
class Token:
    """What the data plane needs to know of a token. `max_requests` None: no limit over its life.

    The secret with `previous_digest` ("": none) works as well until `previous_until`.
    """

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
    policy: Policy = Policy()
    limits: tuple[Limit, ...] = ()
    previous_digest: str = ""
    previous_until: datetime | None = None


class Denial(StrEnum):
    """Why admission said no; the values are the error codes that clients see."""

    NOT_READY = "service_unavailable"
    TOKEN_NOT_FOUND = "token_not_found"  # noqa: S105 - an error code
    TOKEN_INACTIVE = "token_inactive"  # noqa: S105 - an error code
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - an error code
    PROJECT_INACTIVE = "project_inactive"
    ENDPOINT_NOT_FOUND = "endpoint_not_found"
    QUOTA_EXCEEDED = "quota_exceeded"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"


@dataclass(frozen=True, slots=True)
class Caller:
    """An admitted request's owner: which token, on behalf of which project, and its number on that token.

    `policy` is the token's own, which narrows the project's. `standing` is the tightest limit of each measure.
    `hold` is what settles the request later; None: it is not held. `limits` are all that count
    it.
    """

    token_id: str
    token_label: str
    project: Project
    sequence: int
    policy: Policy = Policy()
    hold: bytes | None = field(default=None, repr=False)
    standing: tuple[LimitState, ...] = ()
    limits: tuple[tuple[Scope, Limit], ...] = ()

    @property
    def is_pending(self) -> bool:
        """Whether nothing has been taken yet, since it was not known how much the request needs."""
        return self.sequence == 0

    @property
    def limits_cost(self) -> bool:
        """Whether some limit counts cost."""
        return any(state.measure is Measure.COST for state in self.standing)

    @property
    def has_budget(self) -> bool:
        """Whether some limit counts tokens or cost."""
        return any(state.measure in (Measure.TOKENS, Measure.COST) for state in self.standing)


class Outcome(StrEnum):
    """How an admitted request ended."""

    FINISHED = "finished"
    CLIENT_ABORTED = "client_aborted"
    UPSTREAM_ABORTED = "upstream_aborted"
    CUT = "cut"
    REFUSED = "refused"
    # Its worker died; how it went on is not known.
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Usage:
    """Provider tokens of one answer; None where the provider did not say.

    `prompt_tokens` include those read from and written to the provider's prompt cache, and `completion_tokens` those of
    reasoning, whatever the provider's own way of counting is; the audio ones are parts of them, too. An `is_estimate`
    was made here, since the answer broke off before the provider could say.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_prompt_tokens: int | None = None
    audio_completion_tokens: int | None = None
    is_estimate: bool = False


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One admitted request, as the meter saw it end. `request_id` makes it countable exactly once.

    Times are milliseconds; `occurred_at` is when the request arrived, `first_byte_ms` when the first byte of the
    provider's body came (None: never), `provider_ms` what the provider says it took. `sequence` is the request's number
    on its token, counted at admission. `status` is what the client got; 0 means that no answer was sent. `attempts`
    counts tries at the provider, from 1. `model` is the one that served, as far as that is known, else the one that was
    asked for. `finish_reason` and `provider_request_id` are the provider's own words.
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
    attempts: int = 1
    model_asked: str | None = None
    finish_reason: str | None = None
    provider_request_id: str | None = None
    provider_ms: float | None = None
