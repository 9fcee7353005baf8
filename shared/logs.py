"""Structured logs as JSON lines, with redaction at the root: whatever is logged, no secret leaves the process.

Our own events and those of libraries (mitmproxy, gunicorn, SQLAlchemy) take the same way out through one stdlib
handler. Redaction runs last, over the finished line, so that tracebacks and library messages are covered, too.
"""

import json
import logging
import re
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import quote

import orjson
import structlog

from shared import tokens
from shared.off_thread import OffThread

_HIDDEN = "****"
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
# Anything that looks like a key of a provider or a token of ours, wherever in the line it stands. A word boundary in
# front proves nothing: the `n` of an escaped newline is a letter, too. So a long one with a digit in it needs none.
_OPERATORS = f"{tokens.OPERATOR_PREFIX}[A-Za-z0-9]{{12,}}"
KEY_SHAPES = re.compile(
    rf"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{{12,}}|sk-(?=[A-Za-z_-]{{0,200}}[0-9])[A-Za-z0-9_-]{{20,}}|{_OPERATORS}"
)
# Keys of others that have a shape: Google, Groq, xAI, Hugging Face, Replicate, GitHub, AWS, and signed tokens (JWT).
OTHER_KEYS = re.compile(
    r"(?<![A-Za-z0-9_-])(?:AIza[A-Za-z0-9_-]{30,}|(?:gsk_|xai-|hf_|r8_|gh[pousr]_|github_pat_)[A-Za-z0-9_]{16,}"
    r"|AKIA[A-Z0-9]{16}|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)"
)
OTHER_KEY_HINTS = (
    "AIza",
    "gsk_",
    "xai-",
    "hf_",
    "r8_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "AKIA",
    "eyJ",
)
_SEPARATE_KEYS = re.compile(rf"(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9_-]{{12,}}|{_OPERATORS})")
_BEARER = re.compile(r"(?i)(bearer|basic)(?:\s|\\[nrt])+[A-Za-z0-9._~+/=-]{8,}")
# However a secret is escaped on its way (see `_spellings`), these parts of it stay as they are.
_PLAIN_RUNS = re.compile(r"[A-Za-z0-9]+")
URL_PASSWORD = re.compile(r"(://[^\s/:@\"]*):[^\s/\"]+@")


def mask_keys(text: str) -> str:
    """Mask everything in a text that is shaped like a provider key or a token."""
    if any(hint in text for hint in OTHER_KEY_HINTS):
        text = OTHER_KEYS.sub(lambda found: tokens.mask(found[0]), text)
    return KEY_SHAPES.sub(lambda found: tokens.mask(found[0]), text)


def mask_separate_keys(text: str) -> str:
    """Mask keys and tokens that begin where a word begins: for what is used afterwards, such as a path.

    >>> mask_separate_keys("/v1/models/ft:task-classifier-2024-06-01?key=sk-proj-0123456789abcdef")
    '/v1/models/ft:task-classifier-2024-06-01?key=sk-p****cdef'
    """
    # To look for a part that must be there is much quicker than to search.
    return (
        _SEPARATE_KEYS.sub(lambda found: tokens.mask(found[0]), text) if "sk-" in text or "llmp-op-" in text else text
    )


class Redactor:
    """Masks known secrets and everything shaped like one in a finished line, which stays JSON.

    Secrets shorter than eight characters are not searched for.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= 8}, key=len, reverse=True)
        self._known = re.compile("|".join(map(_pattern, known))) if known else None
        self._hints = [max(_PLAIN_RUNS.findall(secret), key=len, default="") for secret in known]

    def known_in(self, text: str) -> list[tuple[int, int]]:
        """Return where known secrets stand in a text."""
        for hint in self._hints:
            if hint in text and self._known is not None:
                return [found.span() for found in self._known.finditer(text)]
        return []

    def __call__(self, text: str) -> str:
        # Most lines hold nothing of the kind. To look for a part that must be there is much quicker than to search.
        if self._known is not None and any(hint in text for hint in self._hints):
            text = self._known.sub(_HIDDEN, text)
        if "sk-" in text or tokens.OPERATOR_PREFIX in text or any(hint in text for hint in OTHER_KEY_HINTS):
            text = mask_keys(text)
        folded = text.casefold()
        if "bearer" in folded or "basic" in folded or not text.isascii():
            text = _BEARER.sub(rf"\1 {_HIDDEN}", text)
        if "://" in text:
            text = URL_PASSWORD.sub(rf"\1:{_HIDDEN}@", text)
        return text


_SHAPES = Redactor()


class JsonFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders one redacted JSON object per line."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _render],
            foreign_pre_chain=_shared_processors(),
        )
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a record that cannot be rendered leaves one that says so instead of its content."""
        try:
            return self._redact(super().format(record))
        except Exception as error:
            event = {"event": "unloggable", "logger": record.name, "level": record.levelname.lower()}
            event |= {"source": f"{record.pathname}:{record.lineno}", "error": type(error).__name__}
            return json.dumps(event)


class Handler(logging.StreamHandler[IO[str]]):
    """Writes finished lines. If a write fails, it is silent: the stdlib would print the unredacted record instead."""

    def __init__(self, stream: IO[str], redact: Redactor) -> None:
        super().__init__(stream)
        self.setFormatter(JsonFormatter(redact))
        self.redact = redact

    def write_event(self, event: dict[str, Any]) -> None:
        """Write one event as it is, without a record of the stdlib."""
        with self.lock or nullcontext():
            try:
                self.stream.write(self.redact(_render(None, "", event)) + self.terminator)
                self.flush()
            except (OSError, ValueError):
                return

    def handleError(self, record: logging.LogRecord) -> None:
        """Lose the line rather than leak it."""


def configure(level: str, secrets: Iterable[str] = (), stream: IO[str] | None = None) -> None:
    """Send every log line of this process to `stream` (default stderr) as redacted JSON; replaces root handlers."""
    handler = Handler(sys.stderr if stream is None else stream, Redactor(secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[*_shared_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def redact(text: str) -> str:
    """Mask in a text what is masked in this process's log lines."""
    return _redactor()(text)


def secrets_in(text: str) -> list[tuple[int, int]]:
    """Return where the secrets of this process stand in a text, however they are written there."""
    return _redactor().known_in(text)


def _redactor() -> Redactor:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Handler):
            return handler.redact
    return _SHAPES


def write_off_thread() -> None:
    """Let a thread write this process's log lines, many at once; those that wait are written when it exits."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Handler):
            handler.setStream(OffThread(handler.stream))  # type: ignore[arg-type]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class EventLog:
    """What happens for each request is logged by this: the same line as from `get(name).info`, at a fraction."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: Any) -> None:
        """Log one event."""
        if self._logger.isEnabledFor(logging.INFO):
            fields |= {"event": event, "level": "info", "logger": self._name, "timestamp": _now()}
            for handler in logging.getLogger().handlers:
                if isinstance(handler, Handler):
                    handler.write_event(fields)


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
    try:
        # Dataclasses pass through `str`, because their repr leaves out what is secret and orjson would not.
        return orjson.dumps(event, default=str, option=_OPTIONS).decode()
    except orjson.JSONEncodeError:  # lone surrogates, as in undecodable header bytes, or integers beyond 64 bits
        return json.dumps(
            {str(name): value if isinstance(value, str) else repr(value) for name, value in event.items()}
        )


def _pattern(secret: str) -> str:
    """Match a secret however it was escaped on its way: for a URL, by JSON or by repr, any number of times over."""
    return "".join(map(_spellings, secret))


def _spellings(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    in_url = f"(?i:{re.escape(quote(character, safe='', errors='replace'))})"
    if character == "\\":  # in JSON at least two; an odd one belongs to what it escapes, and stays
        return rf"(?:(?:\\\\)+|{in_url})"
    if character in "\"'/":
        return rf"(?:\\*{character}|{in_url})"
    in_bytes = repr(character.encode(errors="surrogatepass"))[2:-1]
    forms = sorted({character, ascii(character)[1:-1], json.dumps(character)[1:-1], in_bytes})
    return f"(?:{'|'.join(re.escape(form).replace(r'\\', r'\\+') for form in forms)}|{in_url})"
