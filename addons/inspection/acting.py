"""What can be done from the page: let a flow go on, end it, edit it – one by one, asked of `Control`."""

from collections.abc import Mapping

from mitmproxy.tools.web import app

from addons.inspection import looking
from addons.inspection.control import Control
from addons.inspection.guard import Guarded
from addons.inspection.manager_line import Refused
from addons.inspection.sign_in import Session


class Acting(Guarded, app.RequestHandler):
    """A handler that does something, for whoever has come in."""

    @property
    def control(self) -> Control:
        """Of this page."""
        found: Control = self.settings["control"]
        return found

    @property
    def actor(self) -> Session:
        """Whoever asks. Raises Refused if nobody does."""
        if self.session is None:
            raise Refused(403, "Sign in first.")
        return self.session


class Resume(Acting):
    """A held flow goes on."""

    async def post(self, flow_id: str) -> None:
        """Let it."""
        try:
            await self.control.resume(self.actor, flow_id)
        except Refused as refusal:
            self.refuse(refusal)


class Kill(Acting):
    """A running flow ends."""

    async def post(self, flow_id: str) -> None:
        """End it."""
        try:
            await self.control.kill(self.actor, flow_id)
        except Refused as refusal:
            self.refuse(refusal)


class Revert(Acting):
    """What was edited is as it was."""

    def post(self, flow_id: str) -> None:
        """Forget what was edited."""
        try:
            self.control.revert(self.actor, flow_id)
        except Refused as refusal:
            self.refuse(refusal)


class Body(Acting):
    """A body as a file."""

    def get(self, flow_id: str, message: str) -> None:
        """Download it."""
        looking.raw(self, message)
        self.note_read(flow_id)

    def post(self, flow_id: str, message: str) -> None:
        """Put another one in its place."""
        try:
            if message != "request":
                raise Refused(409, "Only the body of a request that is held can be edited.")
            self.control.edit(self.actor, flow_id, self.filecontents)
        except Refused as refusal:
            self.refuse(refusal)


class Edit(Acting):
    """A flow is written on: comment, mark, and the body of one that is held."""

    def put(self, flow_id: str) -> None:
        """Write."""
        wanted = self.json
        try:
            if not isinstance(wanted, Mapping) or not wanted:
                raise Refused(400, "An object is wanted.")
            for name, value in wanted.items():
                self._write_on(flow_id, name, value)
        except Refused as refusal:
            self.refuse(refusal)

    def _write_on(self, flow_id: str, name: str, value: object) -> None:
        if name == "comment" and isinstance(value, str):
            self.control.comment(self.actor, flow_id, value)
        elif name == "marked" and isinstance(value, str):
            self.control.mark(self.actor, flow_id, value)
        elif name == "request" and isinstance(value, Mapping) and set(value) == {"content"}:
            self.control.edit(self.actor, flow_id, str(value["content"]).encode("utf-8", "replace"))
        else:
            raise Refused(409, "Only the body of a request that is held can be edited, and comments and marks.")

    def delete(self, flow_id: str) -> None:
        """Take nothing away."""
        self.refuse(Refused(403, "Flows are not taken away here: the oldest go by themselves."))
