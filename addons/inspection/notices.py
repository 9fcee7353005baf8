"""mitmweb's event log: what this inspector has to say to those who look, and no line of its log besides."""

import time
from collections import deque

from mitmproxy.log import LogEntry
from mitmproxy.utils import signals

from shared import logs

MOST = 500
LONGEST = 500


def _sig_add(entry: LogEntry) -> None: ...


class Notices:
    """The newest notices, each of bounded length and without secrets."""

    def __init__(self) -> None:
        self.data: deque[LogEntry] = deque(maxlen=MOST)
        self.sig_add = signals.SyncSignal(_sig_add)

    def add(self, level: str, text: str) -> None:
        """Say something; levels are mitmproxy's: info, warn, error."""
        at = time.strftime("%H:%M:%S")
        entry = LogEntry(f"[{at}] {logs.redact(text)[:LONGEST]}", level)
        self.data.append(entry)
        self.sig_add.send(entry)
