"""Lets go of bodies when their request has ended.

Flows hang in cycles of mitmproxy's layers, which only the garbage collector finds. It looks when so many objects have
come, however large they are: until then, megabytes of each request would stay.
"""

from mitmproxy import ctx, http


class Release:
    """Comes after the rooms that read bodies. Where flows can be saved or looked at afterwards, they stay whole."""

    def __init__(self) -> None:
        self._is_needed = False

    def running(self) -> None:
        """Find out whether anything besides the rooms reads flows; what shows them can save them, too."""
        self._is_needed = "save_stream_file" not in ctx.options

    def response(self, flow: http.HTTPFlow) -> None:
        """The answer is complete; one of our own is still to be sent."""
        if self._is_needed:
            flow.request.raw_content = None

    def error(self, flow: http.HTTPFlow) -> None:
        """The request broke off, perhaps while its answer was being read."""
        if self._is_needed:
            flow.request.raw_content = None
            if flow.response is not None:
                flow.response.stream = True
