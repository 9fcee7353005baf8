"""Reads heads of messages, of clients and providers alike, only if their lines are plain."""

from h11._receivebuffer import ReceiveBuffer

_CONTROL = bytes([*range(0, 9), *range(10, 32), 127])


def _holds_control(text: bytes) -> bool:
    return len(text.translate(None, _CONTROL)) != len(text)


class HeadBuffer(ReceiveBuffer):
    """What has come and not been read; gives no head with control characters in it.

    mitmproxy takes some of them for white space and forgets them, where a proxy before or after this one may not.
    """

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Return the lines of a complete head or trailer; one that is none if they are not plain."""
        lines = super().maybe_extract_lines()
        if lines and (lines[0].startswith((b" ", b"\t")) or _holds_control(b"".join(lines))):
            return [bytearray(b"malformed")]
        return lines
