"""What security staff may see of a project's requests: how much is captured, and what is hidden in it."""

from dataclasses import dataclass
from enum import StrEnum

# Bodies are shown up to here, whatever a project asks for.
MOST_BODY_BYTES = 1 << 20


class Capture(StrEnum):
    """How much of a request goes to the inspector's feed."""

    OFF = "off"
    # Who, what, how long and how it ended; heads, with their credentials masked; no body.
    METADATA = "metadata"
    # Bodies of a share of the requests, metadata of the others.
    SAMPLED = "sampled"
    FULL = "full"


class Hidden(StrEnum):
    """Kinds of personal data that can be hidden. Keys and tokens are always masked."""

    EMAILS = "emails"
    CARDS = "cards"
    PHONES = "phones"
    IBANS = "ibans"


@dataclass(frozen=True, slots=True)
class Inspection:
    """A project's choice.

    `share` (0 to 1) counts for SAMPLED alone. Of each body `max_body_bytes` are shown at most. `json_paths` name
    fields of JSON bodies and events to hide, such as `messages[*].content`; `patterns` are regular expressions of RE2.
    """

    capture: Capture = Capture.METADATA
    share: float = 0.0
    max_body_bytes: int = 64 << 10
    hidden: tuple[Hidden, ...] = ()
    json_paths: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
