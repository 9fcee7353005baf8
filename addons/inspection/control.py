"""What is done to live requests from mitmweb: asked of the manager, with the token of whoever does it.

The manager decides, writes it into the audit, and tells the workers. Here a flow only shows at once what was done.
"""

import re

from mitmproxy.utils.emoji import emoji

from addons.inspection.book import Book, Known
from addons.inspection.manager_line import ManagerLine, Refused
from addons.inspection.notices import Notices
from addons.inspection.sign_in import Session, Sessions
from shared.flow_schema import MOST_EDITED_BYTES, Phase

DEFAULT_REASON = "in mitmweb"
LONGEST_REASON = 500
_UNPRINTABLE = re.compile(r"[^\S ]+|[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_NOT_YOURS = "Somebody else has edited this request: revert that, or edit it yourself. Who resumes answers for it."
_NOT_HELD = "This request is not held. Only the body of a request that is held can be edited."


class Control:
    """Resume, kill and edit, for somebody who may."""

    def __init__(self, book: Book, manager: ManagerLine, sessions: Sessions, notices: Notices) -> None:
        self._book = book
        self._manager = manager
        self._sessions = sessions
        self._notices = notices

    async def resume(self, session: Session, request_id: str) -> None:
        """Let a held request go on, with its body as it was edited here. Raises Refused."""
        known = self._known(session, request_id)
        if known.record.phase is not Phase.HELD:
            raise Refused(409, "This request is not held.")
        if known.edited is not None and known.editor != session.id:
            raise self._failed(session, known, "resume", Refused(409, _NOT_YOURS))
        try:
            await self._manager.resume(session.visitor.token, request_id, _reason(session, known), known.edited)
        except Refused as refusal:
            raise self._failed(session, known, "resume", refusal) from None
        self._book.released(known)

    async def kill(self, session: Session, request_id: str) -> None:
        """End a running request, or refuse one that is held. Raises Refused."""
        known = self._known(session, request_id)
        if not known.flow.live:
            raise Refused(409, "This request does not run any longer.")
        end = self._manager.refuse if known.record.phase is Phase.HELD else self._manager.cut
        try:
            await end(session.visitor.token, request_id, _reason(session, known))
        except Refused as refusal:
            if refusal.status == 404:
                self._book.gone(known)
            raise self._failed(session, known, "kill", refusal) from None
        if known.record.phase is Phase.HELD:
            self._book.released(known)

    def edit(self, session: Session, request_id: str, body: bytes) -> None:
        """Give a held request another body, which it takes along when it is resumed. Raises Refused."""
        known = self._known(session, request_id)
        if known.record.phase is not Phase.HELD or not known.flow.intercepted:
            raise Refused(409, _NOT_HELD)
        if known.request.content is None or known.request.is_cut:
            raise Refused(409, "The body of this request is not shown whole, so it cannot be edited.")
        if len(body) > MOST_EDITED_BYTES:
            raise Refused(413, f"A body may have at most {MOST_EDITED_BYTES} bytes to be edited.")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise Refused(422, "An edited body must be text in UTF-8.") from None
        self._book.edit(known, session.id, text)

    def revert(self, session: Session, request_id: str) -> None:
        """Take back what was edited and has not been sent. Raises Refused."""
        self._book.revert(self._known(session, request_id))

    def comment(self, session: Session, request_id: str, text: str) -> None:
        """Say why one is about to do something. Raises Refused."""
        said = _UNPRINTABLE.sub(" ", text[: 4 * LONGEST_REASON])
        self._book.comment(self._known(session, request_id), session.id, said)

    def mark(self, session: Session, request_id: str, mark: str) -> None:
        """Mark a flow, for all who look. Raises Refused."""
        if mark and mark not in emoji:
            raise Refused(422, "A mark is the name of an emoji, such as :eyes:.")
        self._book.mark(self._known(session, request_id), mark)

    def _known(self, session: Session, request_id: str) -> Known:
        known = self._book.find(request_id)
        if known is None:
            raise Refused(404, "Flow not found.")
        if not session.visitor.may_decide:
            raise Refused(403, "You may look, and do nothing: that needs the token of an operator who may decide.")
        return known

    def _failed(self, session: Session, known: Known, what: str, refusal: Refused) -> Refused:
        """Show why something was not done: the page itself shows no answer."""
        if refusal.status == 401:
            self._sessions.end(session)
            refusal = Refused(403, "The manager does not know you any longer; sign in again.")
        self._notices.add("error", f"{what} of {known.record.request_id}: {refusal.text}")
        self._book.trouble(known, f"{what}: {refusal.text[:LONGEST_REASON]}")
        return refusal


def _reason(session: Session, known: Known) -> str:
    """Return why somebody does something: what they themselves have written beside the flow."""
    is_own = known.reason is not None and known.reason[0] == session.id
    return known.reason[1][:LONGEST_REASON] if is_own and known.reason else DEFAULT_REASON
