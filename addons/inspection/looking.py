"""What can be looked at: flows, bodies in mitmproxy's content views, and all of them as a file."""

import sys
from io import BytesIO
from itertools import batched
from typing import Any

from mitmproxy import contentviews, exceptions, http, io, optmanager, version
from mitmproxy.addons import export
from mitmproxy.tools.web import app

from addons.inspection import filters
from addons.inspection.flows import METADATA
from addons.inspection.guard import Guarded
from addons.inspection.manager_line import Refused
from addons.inspection.updates import encoded

# So many flows are written before others have their turn.
_AT_ONCE = 100


class FilterHelp(Guarded, app.FilterHelp):
    """How filters are written."""


class Events(Guarded, app.Events):
    """What the inspector has to say."""


class Commands(Guarded):
    """mitmproxy's commands: none."""

    def get(self) -> None:
        """Tell the command bar so."""
        self.write({})


class Command(Guarded):
    """The two commands that the page itself uses."""

    def post(self, name: str) -> None:
        """Copy a flow as text; there is no history."""
        if name == "commands.history.get":
            self.write({"value": []})
        elif name == "commands.history.add":
            self.write({"value": None})
        elif name == "export":
            self.write(self._exported())
        else:
            self.refuse(Refused(403, "Commands cannot be run here."))

    def _exported(self) -> dict[str, str]:
        form, request_id = _words(self)
        found = self.application.master.view.get_by_id(request_id.removeprefix("@"))  # type: ignore[attr-defined]
        if found is None or form not in export.formats:
            return {"error": "There is no such flow or format."}
        try:
            text = export.formats[form](found)
        except (exceptions.CommandError, ValueError) as error:
            return {"error": str(error)}
        self.note_read(found.id)
        return {"value": text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text}


class Options(Guarded, app.RequestHandler):
    """mitmproxy's options, which cannot be changed."""

    def get(self) -> None:
        """Show them."""
        self.write(optmanager.dump_dicts(self.master.options))

    def put(self) -> None:
        """Change nothing."""
        self.refuse(Refused(403, "Options cannot be changed here."))


class State(Guarded):
    """What this mitmweb is."""

    def get(self) -> None:
        """Show it."""
        views = [name for name in contentviews.registry.available_views() if name != "query"]
        told = {"version": version.VERSION, "contentViews": views, "servers": {}, "platform": sys.platform}
        self.write(told | {"localModeUnavailable": "This mitmweb shows flows, and takes none."})


class Flows(Guarded, app.RequestHandler):
    """All flows."""

    async def get(self) -> None:
        """List them, a few at a time."""
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        separator = b"["
        for some in batched(list(self.view), _AT_ONCE):
            await _send(self, separator + encoded(list(some)))
            separator = b","
        self.finish(b"]" if separator == b"," else b"[]")


class Download(Guarded, app.RequestHandler):
    """All flows as a file that mitmproxy reads."""

    async def get(self) -> None:
        """Write those that fit a filter, a few at a time."""
        try:
            text = self.get_query_argument("filter", "")
            flows, fitting = list(self.view), None
            if text:
                fitting = await self.settings["searches"].fitting(filters.parse(text), flows)
        except ValueError as reason:
            self.refuse(Refused(400, str(reason)))
            return
        wanted = [each for each in flows if fitting is None or each.id in fitting]
        try:
            await self.note_saved(len(wanted))
        except Refused as refusal:
            self.refuse(refusal)
            return
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", "attachment; filename=flows")
        for some in batched(wanted, _AT_ONCE):
            await _send(self, b"".join(map(_written, some)))

    def post(self) -> None:
        """Take none."""
        self.refuse(Refused(403, "Flows cannot be loaded here."))


class Content(Guarded, app.FlowContentView):
    """A body in a content view."""

    def get(self, flow_id: str, message: str, content_view: str) -> None:
        """Show it, or why it is not shown."""
        lines = self.get_query_argument("lines", "0")
        body = _message(self, message)
        if body is None or not lines.isdecimal():
            self.refuse(Refused(404, "There is no such message."))
        elif body.raw_content is None:
            self.write(_unseen(_note(self, message)))
        else:
            self.note_read(flow_id)
            most = min(int(lines[:9]), 1_000_000) or None
            shown = self.message_to_json(content_view, body, self.flow, most)  # type: ignore[arg-type]
            note = _note(self, message)
            shown["description"] = ", ".join(word for word in (shown["description"], note) if word)
            self.write(shown)


def _message(handler: app.RequestHandler, name: str) -> http.Request | http.Response | None:
    found = handler.flow
    return getattr(found, name, None) if name in ("request", "response") else None


def raw(handler: app.RequestHandler, name: str) -> None:
    """Answer with a body as a file, never as something that a browser would show. Raises APIError: there is none."""
    body = _message(handler, name)
    if body is None or body.raw_content is None:
        raise app.APIError(404, "There is no such body, or it is not shown.")
    handler.set_header("Content-Type", "application/octet-stream")
    handler.set_header("Content-Disposition", f"attachment; filename={handler.flow.id}-{name}")
    handler.write(body.raw_content)


def _note(handler: app.RequestHandler, message: str) -> str:
    told = handler.flow.metadata.get(METADATA, {})
    return str(told.get(f"{message}_note", ""))


def _unseen(note: str) -> dict[str, Any]:
    return {"text": f"[{note or 'not shown'}]", "view_name": "Raw", "syntax_highlight": "none", "description": ""}


def _words(handler: Guarded) -> tuple[str, str]:
    told = app.RequestHandler.json.fget(handler)  # type: ignore[attr-defined]
    words = told.get("arguments") if isinstance(told, dict) else None
    if not isinstance(words, list) or len(words) != 2 or not all(isinstance(word, str) for word in words):
        raise app.APIError(400, "A format and a flow are wanted.")
    return words[0], words[1]


def _written(flow: Any) -> bytes:
    with BytesIO() as file:
        io.FlowWriter(file).add(flow)
        return file.getvalue()


async def _send(handler: Guarded, text: bytes) -> None:
    handler.write(text)
    await handler.flush()
