"""What is asked of a project: for a new one and for one that there is, and what only admins are asked."""

from collections.abc import Sequence

from flask import request

from manager.current import demand, principal, services
from manager.principals import Role
from manager.ui.forms import Blank, Choice, Field, Kind
from shared.models import Feature

# Where keys are sent; see manager/actions/projects.py.
_OF_ADMINS = frozenset(("base_url", "fallback_urls"))
_FEATURES = {
    Feature.RETRIES: ("Retries", "Try a failed request again, where that is safe."),
    Feature.KEY_FAILOVER: ("Key failover", "Go on with the next key when the provider refuses one."),
    Feature.FALLBACK: ("Fallback addresses", "Go on with the next address when one is down."),
    Feature.BREAKER: ("Breaker", "Leave a key or an address alone for a while when it keeps failing."),
    Feature.VALIDATION: ("Validation", "Look into bodies before they are sent."),
    Feature.STREAM_USAGE: ("Usage of streams", "Ask streams for their usage where the application did not."),
    Feature.BUDGET_CUT: ("Budget cut", "End streams that outrun a limit of tokens or cost."),
}
_SWITCH = (Choice("", "As the provider has it"), Choice("true", "On"), Choice("false", "Off"))
_URL = {"inputmode": "url", "spellcheck": "false", "autocapitalize": "off", "autocomplete": "off"}

NAME = Field(
    "name", "Name", "What people call it, such as the team or the application. No two projects share one.",
    blank=Blank.EMPTY, required=True, attributes={"autocomplete": "off"},
)  # fmt: skip
FIRST_KEY = Field(
    "api_key", "First key", "The provider's key that requests go out with. It is sealed, and never shown again.",
    kind=Kind.PASSWORD, required=True,
)  # fmt: skip
ADDRESS = (
    Field(
        "base_url", "Base URL", "Where requests go instead of the provider's own address. Empty: the provider's own.",
        blank=Blank.EMPTY, attributes=_URL,
    ),
    Field(
        "fallback_urls", "Fallback addresses", "Tried in this order when that one is down. One in each line.",
        kind=Kind.TAGS,
    ),
)  # fmt: skip
POLICY = (
    Field(
        "policy.allowed_models", "Allowed models", "One in each line; * and ? stand for any letters. Empty: all.",
        kind=Kind.TAGS,
    ),
    Field(
        "policy.denied_models", "Denied models", "They win over the allowed ones. One in each line.", kind=Kind.TAGS
    ),
    Field(
        "policy.denied_parameters", "Denied parameters", "What requests may not have, such as tools. One in each line.",
        kind=Kind.TAGS,
    ),
    Field(
        "policy.max_values", "Highest values", "One in each line, such as max_tokens = 4096.", kind=Kind.PAIRS
    ),
)  # fmt: skip
LIMITS = Field(
    "limits", "Limits", "Of all its tokens together. Money is in US dollars; days and months are those of UTC.",
    kind=Kind.LIMITS,
)  # fmt: skip
ORIGINS = Field(
    "cors_origins", "Web pages that may call", "Their origins, one in each line, such as https://app.example.org.",
    kind=Kind.TAGS,
)  # fmt: skip
# The first one is that of a project of which nothing was said.
_CAPTURES = (
    Choice("metadata", "All but bodies"),
    Choice("off", "Nothing"),
    Choice("sampled", "Bodies of a share"),
    Choice("full", "All bodies"),
)
_KINDS = (
    Choice("emails", "E-mail addresses"),
    Choice("cards", "Card numbers"),
    Choice("phones", "Phone numbers"),
    Choice("ibans", "IBANs"),
)
INSPECTION = (
    Field(
        "inspection.capture", "Recorded", "What security staff see of its requests. Keys and tokens are always masked.",
        kind=Kind.SELECT, choices=_CAPTURES,
    ),
    Field("inspection.share", "Share", "Of the requests, from 0 to 1, if a share is recorded.", Kind.NUMBER,
          attributes={"step": "any"}),
    Field("inspection.max_body_bytes", "Bytes of each body", "More of it is not recorded.", Kind.NUMBER),
    Field("inspection.hidden", "Hidden", "In bodies, names and logs.", Kind.CHOICES, _KINDS),
    Field(
        "inspection.json_paths", "Hidden fields", "Of JSON, such as messages[*].content. One in each line.", Kind.TAGS
    ),
    Field("inspection.patterns", "Hidden patterns", "Regular expressions of RE2. One in each line.", Kind.TAGS),
)  # fmt: skip
FEATURES = tuple(
    Field(f"features.{feature}", label, text, kind=Kind.SELECT, choices=_SWITCH, blank=Blank.NULL)
    for feature, (label, text) in _FEATURES.items()
)
SETTINGS = (NAME, *ADDRESS, *POLICY, LIMITS, ORIGINS, *INSPECTION, *FEATURES)
# What is folded away: its title and the fields in it.
FOLDS = (
    ("Where requests go", ADDRESS),
    ("What may be asked for", POLICY),
    ("How much may be used", (LIMITS,)),
    ("Browsers", (ORIGINS,)),
    ("What is recorded", INSPECTION),
    ("Features", FEATURES),
)


def provider() -> Field:
    """Return the question for the provider: those of the table that is loaded."""
    table = services().rules.table.providers
    choices = [Choice(name, f"{name} ({table[name].base_url})") for name in sorted(table)]
    said = "Whose API its applications call. It cannot be changed later."
    return Field("provider", "Provider", said, Kind.SELECT, choices, blank=Blank.EMPTY, required=True)


def askable(fields: Sequence[Field]) -> list[Field]:
    """Return those fields that who is here may fill in. Raises Forbidden if another one was sent."""
    if principal().role.covers(Role.ADMIN):
        return list(fields)
    if _OF_ADMINS & set(request.form):
        demand(Role.ADMIN)
    return [field for field in fields if field.name not in _OF_ADMINS]


def folds(fields: Sequence[Field]) -> list[tuple[str, list[str]]]:
    """Return what is folded away, of these fields: titles, and the names of the fields in them."""
    there = {field.name for field in fields}
    found = [(title, [field.name for field in inside if field.name in there]) for title, inside in FOLDS]
    return [(title, names) for title, names in found if names]


def feature_label(name: str) -> str:
    """Return what a feature is called."""
    return _FEATURES[Feature(name)][0] if name in list(Feature) else name
