"""Asks streams of chat for their usage where the client did not, and keeps from it what is only there for that.

A provider says the usage of a stream only if `stream_options.include_usage` asks for it. It is written into the body as
it came, byte for byte but for the insertion, if that can be read in one way only. The answer is asked for without a
content coding, since coded bytes cannot be edited; one that is coded all the same is passed on as it is.
"""

from mitmproxy import http

from addons import media_types
from addons.body_fields import json_fields, json_object, places_of
from addons.call import Call, Calls
from addons.dialects.usage_filter import UsageFilter
from addons.meter import Tap
from addons.refusal import Refused, fail_closed
from addons.request_body import is_compressed
from addons.targets import has_feature
from shared.models import Feature

_ASKING = b'{"include_usage":true}'
# What the client says about the body's bytes, or the provider about the answer's, does not hold for edited ones.
_DIGESTS = ("content-md5", "digest", "content-digest", "repr-digest")


def asking_for_usage(body: bytes) -> bytes | None:
    """Return the body of a request for a stream with `include_usage` in it, None if it is there or cannot be.

    >>> asking_for_usage(b'{"model": "m", "stream": true}')
    b'{"stream_options":{"include_usage":true},"model": "m", "stream": true}'
    >>> asking_for_usage(b'{"stream": true, "stream_options": {"include_usage": false}}')
    b'{"stream": true, "stream_options": {"include_usage":true}}'
    """
    try:
        if json_fields(body, ("stream", "stream_options")).get("stream") is not True:
            return None
        fields = json_object(body)
        if "stream_options" not in fields:
            place = body.find(b"{") + 1
            return body[:place] + b'"stream_options":' + _ASKING + b"," + body[place:]
        place_of_options = places_of(body, fields)["stream_options"]
        options = _with_usage(body[place_of_options])
    except Refused:
        return None
    return None if options is None else body[: place_of_options.start] + options + body[place_of_options.stop :]


def _with_usage(options: bytes) -> bytes | None:
    if options == b"null":
        return _ASKING
    asked = json_fields(options, ("include_usage",))
    if "include_usage" not in asked:
        place = options.find(b"{") + 1
        comma = b"," if json_object(options) else b""
        return options[:place] + b'"include_usage":true' + comma + options[place:]
    if asked["include_usage"] is not None and asked["include_usage"] is not False:
        return None  # It is asked for, or something else is meant, which the provider will refuse.
    place_of_answer = places_of(options, json_object(options))["include_usage"]
    return options[: place_of_answer.start] + b"true" + options[place_of_answer.stop :]


def may_ask(call: Call, request: http.Request) -> bool:
    """Tell whether a request is one for a stream that tells its usage when it is asked to."""
    if call.route is None or not call.route.stream_usage or not call.is_stream or request.method != "POST":
        return False
    return call.dialect == "openai" and has_feature(call, Feature.STREAM_USAGE) and _is_plain_json(request)


def _is_plain_json(request: http.Request) -> bool:
    content_type = request.headers.get("content-type")
    if is_compressed(request) or any(name in request.headers for name in _DIGESTS):
        return False
    try:
        return content_type is None or media_types.parse(content_type).is_json
    except Refused:
        return False


def can_be_edited(response: http.Response) -> bool:
    """Tell whether an answer consists of events in the clear."""
    is_plain = response.headers.get("content-encoding", "identity").strip().lower() in ("", "identity")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return is_plain and kind == "text/event-stream"


class HidingTap:
    """A tap whose chunks lose what the client has not asked for, after the tap has seen it."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._filter = UsageFilter()

    def __call__(self, chunk: bytes) -> bytes | list[bytes]:
        """Pass a chunk through both; nothing is an empty list, since an empty chunk would end the answer."""
        return self._filter(self._tap(chunk)) or []


class StreamUsage:
    """Stands after the meter, which is to see all of the answer, and thereby after all that judge the request."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> None:
        """Ask for the usage."""
        call, request = self.calls.of(flow), flow.request
        body = request.raw_content
        if not body or not may_ask(call, request):
            return
        asking = asking_for_usage(body)
        if asking is None:
            return
        request.raw_content = asking
        if "content-length" in request.headers:
            request.headers["content-length"] = str(len(asking))
        request.headers["accept-encoding"] = "identity"
        call.hides_usage = True

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Hide what was asked for."""
        call, response = self.calls.of(flow), flow.response
        if response is None or not call.hides_usage or not isinstance(response.stream, Tap):
            return
        if can_be_edited(response):
            for name in ("content-length", *_DIGESTS):
                response.headers.pop(name, None)
            response.stream = HidingTap(response.stream)
