"""Shows the bodies of the known APIs as conversations: what was asked, and what was answered."""

from mitmproxy import http
from mitmproxy.contentviews import Contentview, Metadata

from addons.dialects import conversation
from addons.dialects.conversation import Conversation, Topic
from addons.views import about, writing
from addons.views.placing import path_of, route_of

# JSON and the like have 1.
PRIORITY = 2.0
NOT_OURS = -1.0
_WORDS = (Topic.CHAT, Topic.COMPLETIONS, Topic.RESPONSES, Topic.MESSAGES)


def _topic(metadata: Metadata) -> Topic | None:
    return conversation.topic_of(route_of(metadata), path_of(metadata))


class _BodyView(Contentview):
    """A view of bodies of some APIs."""

    topics: tuple[Topic, ...] = _WORDS

    def _is_side(self, message: http.Message | None) -> bool:
        return message is not None

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Claim the bodies of the APIs that are ours, and no others."""
        is_ours = self._is_side(metadata.http_message) and _topic(metadata) in self.topics
        return PRIORITY if is_ours else NOT_OURS

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """Return the body as text. Raises ValueError for what is no body of such an API."""
        lines = about.lines(about.about(metadata.flow))
        told = self._told(data, metadata) if data.strip() else Conversation()
        return writing.joined([*lines, *writing.conversation(told)])

    def _told(self, data: bytes, metadata: Metadata) -> Conversation:
        topic = _topic(metadata)
        topic = topic if topic in self.topics else self.topics[0]
        if isinstance(metadata.http_message, http.Request):
            return conversation.of_request(topic, data)
        return conversation.of_answer(topic, data, metadata.content_type or "")


class ConversationView(_BodyView):
    """What was asked."""

    name = "LLM conversation"

    def _is_side(self, message: http.Message | None) -> bool:
        return isinstance(message, http.Request)


class AnswerView(_BodyView):
    """What was answered; of a stream, what its events make together."""

    name = "LLM answer"

    def _is_side(self, message: http.Message | None) -> bool:
        return isinstance(message, http.Response)


class EmbeddingsView(_BodyView):
    """What was embedded, and how many numbers it became."""

    name = "LLM embeddings"
    topics = (Topic.EMBEDDINGS,)
