"""Texts that break careless pages, and what must hold of every page that shows them."""

from tests.manager.ui.conftest import Seen

SCRIPT = "</td><script>alert(1)</script>"
QUOTES = "\"'><img src=x onerror=alert(1)>"
ARABIC = "فريق البحث"
TURNED = "\u202etxt.exe"
EMOJI = "🚀 👩‍👩‍👧"
LONG = "a-very-long-name-without-a-break-" * 7
NASTY = (SCRIPT, QUOTES, ARABIC, TURNED, EMOJI, "{{ 7*7 }}", LONG)


def is_harmless(page: Seen) -> bool:
    """Tell whether no text became markup: scripts are ours alone, and nothing is styled or handled in place."""
    scripts = page.all("script")
    elements = page.all("*")
    return (
        all(each.get("src", "").startswith("/ui/assets/") and not each.get_text().strip() for each in scripts)
        and not page.all("img[src=x]")
        and not [name for each in elements for name in each.attrs if name == "style" or name.startswith("on")]
    )
