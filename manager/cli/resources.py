"""What the API keeps, as commands: projects, keys, tokens, prices, operators, requests, providers."""

from manager.cli.resource import Action, Field, Kind, Resource, group


def _both(*names: str) -> tuple[str, ...]:
    return tuple(sign + name for name in names for sign in ("", "-"))


_OUTCOMES = ("finished", "client_aborted", "upstream_aborted", "cut", "refused", "lost")
_LABEL = Field("label", "What it is for.")
_POLICY = Field("policy", "Which models and parameters may be used.", Kind.JSON)
_LIMITS = Field("limits", "Limits, as the API takes them.", Kind.JSON)
_EXPIRES_IN = Field("expires_in", "How long it lives: seconds, or an ISO 8601 duration such as P7D.")
_EXPIRES_AT = Field("expires_at", "When it ends, instead: 2030-01-01T00:00:00Z.")
_MOST_REQUESTS = Field("max_requests", "So many requests over its life; none: no limit.", Kind.WHOLE)
_IS_ACTIVE = Field("is_active", "Whether it may be used.", Kind.TRUTH, alias="active")
_PROJECT = Field("project_id", "Of this project, by its name or id.", Kind.PROJECT, alias="project")
_FROM = Field("from", "Then or later.")
_UNTIL = Field("until", "Before.")
_KEY = Field("api_key", "The provider's key.", Kind.SECRET)

_PROJECT_SETTINGS = (
    Field("base_url", "Replaces the provider's own origin."),
    Field("fallback_urls", "Tried when that is down; several times, in order.", Kind.TEXTS, alias="fallback_url"),
    _POLICY,
    _LIMITS,
    Field("cors_origins", "Whose pages may call; several times.", Kind.TEXTS, alias="cors_origin"),
    Field("features", "What differs from the provider.", Kind.JSON),
    Field("inspection", "What security staff may see of its requests.", Kind.JSON),
)

project = group(
    Resource(
        "project",
        "projects",
        "/manage/projects",
        ("id", "name", "provider", "is_active", "created_at"),
        filters=(
            _IS_ACTIVE,
            Field("provider", "Of this provider."),
            Field("name_contains", "With this in the name."),
            Field("name_prefix", "Whose name begins so."),
            Field("deleted", "Which of them.", choices=("without", "with", "only")),
        ),
        sorts=_both("created_at", "updated_at", "name"),
        creates=(
            Field("name", "What it is called.", is_required=True),
            Field("provider", "Whose API it is; openai if not said."),
            _KEY,
            *_PROJECT_SETTINGS,
        ),
        changes=(Field("name", "What it is called."), _IS_ACTIVE, *_PROJECT_SETTINGS),
        delete="delete",
        question="Delete it? None of its tokens works any longer.",
        actions=(
            Action("activate", "Let its tokens be used again.", "/activate"),
            Action("deactivate", "Refuse all its tokens until it is activated again.", "/deactivate"),
            Action(
                "revoke-tokens",
                "Revoke all tokens of a project, for good.",
                "/tokens/revoke",
                question="Revoke all its tokens, for good?",
            ),
        ),
    )
)

key = group(
    Resource(
        "key",
        "provider keys of a project",
        "/manage/projects/{project}/keys",
        ("id", "label", "masked_key", "weight", "is_active", "created_at"),
        creates=(
            Field("api_key", "The provider's key.", Kind.SECRET, is_required=True),
            _LABEL,
            Field("weight", "How often it is chosen, beside the others.", Kind.WHOLE),
        ),
        changes=(_LABEL, Field("weight", "How often it is chosen.", Kind.WHOLE), _IS_ACTIVE),
        delete="delete",
        question="Delete it? It cannot be brought back.",
        actions=(
            Action(
                "rotate",
                "Put another key in its place.",
                "/rotate",
                fields=(Field("api_key", "The provider's next key.", Kind.SECRET, is_required=True),),
            ),
            Action("test", "Ask the provider whether it works.", "/test"),
        ),
    )
)

token = group(
    Resource(
        "token",
        "withering tokens",
        "/manage/tokens",
        ("id", "label", "masked_token", "state", "request_count", "max_requests", "expires_at", "last_used_at"),
        filters=(
            _PROJECT,
            Field("state", "In this state.", choices=("active", "inactive", "exhausted", "expired", "revoked")),
            Field("label_contains", "With this in the label."),
            Field("label_prefix", "Whose label begins so."),
            Field("expires_before", "That end before."),
            Field("expires_after", "That end then or later."),
            Field("last_used_before", "Last used before, or never."),
            Field("last_used_after", "Last used then or later."),
        ),
        sorts=_both("created_at", "updated_at", "expires_at", "last_used_at", "request_count", "label"),
        creates=(
            Field("project_id", "Of this project, by its name or id.", Kind.PROJECT, True, alias="project"),
            _LABEL,
            _EXPIRES_IN,
            _EXPIRES_AT,
            _MOST_REQUESTS,
            _POLICY,
            _LIMITS,
        ),
        changes=(_LABEL, _EXPIRES_IN, _EXPIRES_AT, _MOST_REQUESTS, _POLICY, _LIMITS, _IS_ACTIVE),
        delete="revoke",
        question="Revoke it, for good? What runs with it is cut.",
        actions=(
            Action(
                "refresh",
                "Give it a new secret.",
                "/refresh",
                fields=(Field("grace", "How long the old one works as well."), _EXPIRES_IN, _EXPIRES_AT),
            ),
        ),
    )
)

price = group(
    Resource(
        "price",
        "prices of models",
        "/manage/prices",
        ("id", "provider", "model", "prompt", "completion", "cached", "source", "valid_from"),
        filters=(Field("provider", "Of this provider."), Field("model", "Of models of this name.")),
        creates=(
            Field("provider", "Of this provider.", is_required=True),
            Field("model", "The model, or a glob.", is_required=True),
            Field("prompt", "USD per million tokens."),
            Field("completion", "USD per million tokens."),
            Field("cached", "USD per million tokens read from the provider's cache."),
            Field("cache_write", "USD per million tokens written to it."),
            Field("reasoning", "USD per million tokens."),
            Field("request", "USD for each request."),
            Field("above", "For prompts of more tokens than this.", Kind.WHOLE),
            Field("valid_from", "From then on."),
            Field("valid_until", "Until then."),
        ),
        create_method="PUT",
        delete="delete",
        question="Delete it?",
    )
)

operator = group(
    Resource(
        "operator",
        "operators of the API",
        "/manage/operators",
        ("id", "name", "role", "masked_token", "expires_at", "last_used_at", "revoked_at"),
        filters=(Field("role", "Of this role.", choices=("auditor", "operator", "admin")),),
        sorts=_both("created_at", "name", "last_used_at"),
        creates=(
            Field("name", "Who it is.", is_required=True),
            Field("role", "What it may do.", is_required=True, choices=("auditor", "operator", "admin")),
            Field("project_ids", "Only this project, by its id; several times.", Kind.TEXTS, alias="project_id"),
            _EXPIRES_IN,
        ),
        changes=(
            Field("role", "What it may do.", choices=("auditor", "operator", "admin")),
            Field("project_ids", "Only this project, by its id; several times.", Kind.TEXTS, alias="project_id"),
            _EXPIRES_IN,
        ),
        delete="revoke",
        question="Revoke it, for good?",
        actions=(Action("rotate", "Give it a new token; the old one ends at once.", "/rotate"),),
    )
)

request = group(
    Resource(
        "request",
        "requests that were admitted",
        "/manage/requests",
        (
            "occurred_at",
            "request_id",
            "model",
            "status",
            "outcome",
            "error_code",
            "total_tokens",
            "cost",
            "duration_ms",
        ),
        filters=(
            _PROJECT,
            Field("token_id", "Of this token.", alias="token"),
            Field("model", "Of this model."),
            Field("route", "On this route."),
            Field("status", "With this status.", Kind.WHOLE),
            Field("outcome", "That ended so.", choices=_OUTCOMES),
            Field("error_code", "That ended with this code."),
            _FROM,
            _UNTIL,
        ),
        sorts=_both("occurred_at"),
    )
)
