"""Icons: a sprite of those of Bootstrap's that are used, and how a page shows one of them."""

import re

from markupsafe import Markup

# What is not named here is not sent. A test finds names in templates that are missing.
NAMES = (
    "arrow-clockwise",
    "arrow-down",
    "arrow-down-up",
    "arrow-up",
    "box-arrow-right",
    "box-arrow-up-right",
    "broadcast",
    "card-text",
    "cash-coin",
    "check-circle",
    "chevron-left",
    "chevron-right",
    "circle-half",
    "clipboard",
    "clock",
    "diagram-3",
    "download",
    "exclamation-triangle",
    "filter",
    "folder2",
    "hand-index",
    "heart-pulse",
    "hourglass-split",
    "inbox",
    "info-circle",
    "journal-check",
    "key",
    "list",
    "moon-stars",
    "pause-circle",
    "pencil",
    "people",
    "person-circle",
    "play-circle",
    "plus-lg",
    "question-circle",
    "scissors",
    "search",
    "shield-check",
    "shield-lock",
    "sliders",
    "speedometer2",
    "sun",
    "table",
    "ticket-perforated",
    "trash",
    "x-circle",
    "x-lg",
    "x-octagon",
)
_SYMBOL = re.compile(r'<symbol (?P<attributes>[^>]*?)id="(?P<name>[^"]+)"(?P<rest>[^>]*)>(?P<body>.*?)</symbol>', re.S)


def sprite(whole: str) -> bytes:
    """Return the sprite of these icons out of that of all. Raises KeyError for one that is not in it."""
    known = {found["name"]: found[0] for found in _SYMBOL.finditer(whole)}
    symbols = "".join(known[name] for name in NAMES)
    return f'<svg xmlns="http://www.w3.org/2000/svg">{symbols}</svg>'.encode()


def shown(sprite_url: str, name: str, label: str = "") -> Markup:
    """Return an icon: an ornament, or with a label something that is read out."""
    if name not in NAMES:
        raise KeyError(f"there is no icon {name} in manager/ui/icons.py")
    said = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    return Markup('<svg class="icon" {}><use href="{}#{}"></use></svg>').format(said, sprite_url, name)
