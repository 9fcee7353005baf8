"""Leaves those of mitmproxy's content views that no body can do harm to."""

from mitmproxy import contentviews
from mitmproxy.contentviews import Contentview, Metadata, SyntaxHighlight
from mitmproxy.contentviews._registry import ContentviewRegistry

# They take no longer than a body is long, and unpack nothing.
VIEWS = frozenset(("raw", "json", "multipart form", "image", "hex dump", "hex stream", "query"))
# These do, too, but seconds for each MB, in which nobody else is served.
SLOW_VIEWS = frozenset(("xml/html", "url-encoded"))
MOST_BYTES = 64 << 10


class ForShort(Contentview):
    """One of mitmproxy's views, for bodies that are not long."""

    def __init__(self, view: Contentview) -> None:
        self._view = view

    @property
    def name(self) -> str:
        """The same as mitmproxy's."""
        return self._view.name

    @property
    def syntax_highlight(self) -> SyntaxHighlight:
        """The same as mitmproxy's."""
        return self._view.syntax_highlight

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """Show a body, or that it is too long."""
        if len(data) > MOST_BYTES:
            return f"[{len(data)} bytes: this view shows up to {MOST_BYTES}, others more]"
        return self._view.prettify(data, metadata)

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Leave long bodies to others."""
        return -1.0 if len(data) > MOST_BYTES else self._view.render_priority(data, metadata)


def keep_safe_views(registry: ContentviewRegistry = contentviews.registry) -> None:
    """Take all others away, once or again."""
    for name, view in list(registry.items()):
        if name in SLOW_VIEWS:
            registry._by_name[name] = view if isinstance(view, ForShort) else ForShort(view)
        elif name not in VIEWS:
            del registry._by_name[name]
