"""Structured logs as JSON lines, with redaction at the root: whatever is logged, no secret leaves the process.

Our own events and those of libraries (mitmproxy, gunicorn, SQLAlchemy) take the same way out through one stdlib
handler. Redaction runs last, over the finished line, so that tracebacks and library messages are covered, too.
"""

import logging
import re
import sys
from collections.abc import Iterable
from typing import IO, Any

import orjson
import structlog

from shared import tokens

_HIDDEN = "****"
# Anything that looks like a key of a provider or a token of ours, wherever in the line it stands.
_KEY_SHAPES = re.compile(r"\bsk-[A-Za-z0-9_-]{12,}")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_URL_PASSWORD = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@\"]*):[^\s/@\"]+@")


class Redactor:
    """Masks known secrets (exactly) and everything shaped like one. Secrets shorter than eight are not searched."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= 8}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(_HIDDEN, text)
        text = _KEY_SHAPES.sub(lambda found: tokens.mask(found[0]), text)
        text = _BEARER.sub(rf"\1 {_HIDDEN}", text)
        return _URL_PASSWORD.sub(rf"\1:{_HIDDEN}@", text)


class JsonFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders one redacted JSON object per line."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _render],
            foreign_pre_chain=_shared_processors(),
        )
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))


def configure(level: str, secrets: Iterable[str] = (), stream: IO[str] | None = None) -> None:
    """Send every log line of this process to `stream` (default stderr) as redacted JSON; replaces root handlers."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter(Redactor(secrets)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[*_shared_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a room, e.g. `get("admission")`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def _shared_processors() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]


def _render(_: Any, __: str, event: structlog.typing.EventDict) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
