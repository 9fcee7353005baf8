"""Views of bodies for mitmproxy, mitmweb above all: conversations instead of JSON and events.

They show flows whose bodies have been redacted already, and hide nothing by themselves.
"""

from mitmproxy import contentviews

from addons.views.conversation_view import AnswerView, ConversationView, EmbeddingsView
from addons.views.files_view import FilesView

VIEWS = (ConversationView, AnswerView, EmbeddingsView, FilesView)


def register() -> None:
    """Add the views to mitmproxy's, which chooses them by themselves where they fit."""
    for view in VIEWS:
        contentviews.add(view)
