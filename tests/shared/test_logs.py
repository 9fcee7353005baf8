"""Logs: JSON lines, from whichever library, out of which no secret gets, however it was put in."""

import io
import json
import logging
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared import logs, sealing, tokens
from shared.sealing import Keyring

TOKEN = "sk-llmp-000A7dl5PEW67zZCpFU9uKaHnGgOvQKAR2eahrm"
KNOWN = 'kn0wn"se\\cret/+='

type Read = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the logs of this test go; afterwards logging is as it was."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def lines(stream: io.StringIO) -> Read:
    """Logs are configured; call it to read what was logged since the last call."""
    logs.configure("info", [KNOWN], stream)

    def read() -> list[dict[str, Any]]:
        written = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        assert written == "" or written.endswith("\n")
        return [json.loads(line) for line in written.split("\n")[:-1]]

    return read


def rendered(event: object, secrets: tuple[str, ...] = (), **values: object) -> str:
    """The finished line of one event, without configuring anything."""
    record = logging.LogRecord("room", logging.INFO, __file__, 1, {"event": event, **values}, (), None)
    record._logger, record._name = None, "info"
    return logs.JsonFormatter(logs.Redactor(secrets)).format(record)


# Shape


def test_an_event_of_ours_is_one_json_object_per_line(lines: Read) -> None:
    logs.get("admission").info("denied", reason="token_expired", attempt=2)
    logs.get("meter").warning("late", seconds=1.5)

    first, second = lines()

    moment = datetime.fromisoformat(first.pop("timestamp"))
    assert first == {
        "event": "denied",
        "reason": "token_expired",
        "attempt": 2,
        "level": "info",
        "logger": "admission",
    }
    assert moment.tzinfo == UTC
    assert (second["event"], second["level"], second["logger"]) == ("late", "warning", "meter")


def test_an_event_of_a_library_takes_the_same_way(lines: Read) -> None:
    logging.getLogger("sqlalchemy.engine").warning("connection to %s lost after %d s", "db", 3)

    [line] = lines()

    assert line["event"] == "connection to db lost after 3 s"
    assert (line["level"], line["logger"]) == ("warning", "sqlalchemy.engine")
    assert datetime.fromisoformat(line["timestamp"]).tzinfo == UTC


def test_newlines_stay_inside_their_line(lines: Read) -> None:
    logs.get("room").info("first\nsecond\u2028third", more="x\r\ny")

    [line] = lines()

    assert (line["event"], line["more"]) == ("first\nsecond\u2028third", "x\r\ny")


def test_bound_and_contextual_values_are_in_the_line(lines: Read) -> None:
    structlog.contextvars.bind_contextvars(request_id="r1")

    logs.get("room").bind(worker=3).info("started")

    [line] = lines()
    assert (line["request_id"], line["worker"]) == ("r1", 3)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_only_the_level_and_what_is_more_severe_is_logged(stream: io.StringIO, level: str, expected: list[str]) -> None:
    logs.configure(level, stream=stream)

    for name in ("debug", "info", "warning", "error"):
        getattr(logs.get("ours"), name)("event")
        getattr(logging.getLogger("theirs"), name)("event")

    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["level"] for line in found if line["logger"] == "ours"] == expected
    assert [line["level"] for line in found if line["logger"] == "theirs"] == expected


def test_configuring_again_replaces_all_handlers_of_the_root(stream: io.StringIO) -> None:
    logging.getLogger().addHandler(logging.StreamHandler(io.StringIO()))

    logs.configure("info", stream=io.StringIO())
    logs.configure("info", stream=stream)
    logs.get("room").info("once")

    assert len(stream.getvalue().splitlines()) == len(logging.getLogger().handlers) == 1


def test_logs_go_to_stderr_by_default(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")

    logs.get("room").info("hello")

    assert json.loads(capsys.readouterr().err)["event"] == "hello"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError(TOKEN)

    __repr__ = __str__


def endless() -> dict[str, object]:
    loop: dict[str, object] = {"secret": TOKEN}
    return loop | {"again": loop, "self": [loop]}


@pytest.mark.parametrize(
    "value",
    [
        {1: "x", None: "y", ("a", 1): "z"},
        {"set"},
        b"\xff",
        1 << 80,
        float("nan"),
        datetime(2026, 1, 1, tzinfo=UTC),
        object(),
        "\udcff",
        ["\udcff", 1 << 80],
        endless(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_value_can_be_logged(value: object) -> None:
    line = json.loads(rendered("crashed", value=value))

    assert line["event"] == "crashed"
    assert "value" in line


def test_keys_that_are_no_text_become_text() -> None:
    line = json.loads(rendered("event", value={1: "a", None: "b", datetime(2026, 1, 1, tzinfo=UTC): "c"}))

    assert line["value"] == {"1": "a", "null": "b", "2026-01-01T00:00:00+00:00": "c"}


# A record that cannot be rendered or written


def test_a_record_that_cannot_be_rendered_says_so_without_its_content(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info", stream=stream)

    logging.getLogger("library").error("%d requests with %s", TOKEN, TOKEN)
    logs.get("ours").error("crashed", value=Unprintable())

    first, second = map(json.loads, stream.getvalue().splitlines())

    assert (first["event"], first["logger"], first["level"]) == ("unloggable", "library", "error")
    assert first["error"] == "TypeError"
    assert "test_logs.py:" in first["source"]
    assert (second["event"], second["logger"]) == ("unloggable", "ours")
    assert TOKEN not in repr((first, second))
    assert capsys.readouterr().err == ""


def test_a_failed_write_does_not_print_the_record_elsewhere(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info", stream=stream)
    stream.close()

    logs.get("ours").error("refused", token=TOKEN)
    logging.getLogger("library").error("token %s", TOKEN)

    assert capsys.readouterr() == ("", "")


# Redaction


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"token {TOKEN} refused", "token sk-llmp-****ahrm refused"),
        (f"x{TOKEN}", "xsk-llmp-****ahrm"),
        ("key sk-proj-abcdefghijkl0123 used", "key sk-p****0123 used"),
        ("key=sk-ant-api03-AbC_dEf-0123456789", "key=sk-a****6789"),
        ("?key=sk-abcdefghijkl&x=1", "?key=****&x=1"),
        ("a%20sk-abcdefghijkl0123456789", "a%20sk-a****6789"),
        ("disk-usage and task-runner-of-the-department", "disk-usage and task-runner-of-the-department"),
        ("sk-short", "sk-short"),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: Bearer ****"),
        ("authorization: bearer   abc.def-ghi_jkl~+/==", "authorization: bearer ****"),
        ("Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==", "Proxy-Authorization: Basic ****"),
        ("Bearer short", "Bearer short"),
        ("postgresql://llm:hunter2@db/llm", "postgresql://llm:****@db/llm"),
        ("redis://:hunter2@cache:6379/0", "redis://:****@cache:6379/0"),
        ("redis://user:p@ss:w0rd@cache", "redis://user:****@cache"),
        ("postgresql+psycopg://u:p%40ss@h/d, then", "postgresql+psycopg://u:****@h/d, then"),
        ("http://127.0.0.1:8080/v1 called by me@example.org", "http://127.0.0.1:8080/v1 called by me@example.org"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock"),
    ],
)
def test_what_looks_like_a_secret_is_masked_and_the_rest_is_left(text: str, shown: str) -> None:
    assert logs.Redactor()(text) == shown


def test_known_secrets_are_masked_whatever_they_look_like() -> None:
    redact = logs.Redactor(["hunter2-hunter2", "hunter2-hunter2-longer", "seven77", "", "eight888"])

    assert redact("a hunter2-hunter2-longer b") == "a **** b"
    assert redact("(hunter2-hunter2)") == "(****)"
    assert redact("eight888seven77") == "****seven77"


def test_a_secret_of_undecodable_bytes_is_masked_like_any_other() -> None:
    secret = "key-\udcff-abcdefgh"

    assert "abcdefgh" not in rendered(f"using {secret}", (secret,), repr=repr(secret))


@pytest.mark.parametrize(
    "secret", [KNOWN, "'kn0wn'\\", "\\\\kn0wn//\\", "kn0wn-schlüssel", "kn0wn\tkn0wn", "kn0wn-a.*b+[c"]
)
@pytest.mark.parametrize(
    "quote_it",
    [
        lambda secret: secret,
        lambda secret: json.dumps({"a": secret}),
        lambda secret: json.dumps({"a": secret}, ensure_ascii=False),
        lambda secret: json.dumps({"a": json.dumps({"b": secret})}),
        lambda secret: repr({"a": json.dumps({"b": secret})}),
        lambda secret: {"a": json.dumps({"b": secret}), "b": "\udcff"},
        lambda secret: repr(secret.encode()),
        lambda secret: ascii({"a": secret}),
        lambda secret: f"?a={quote(secret, safe='').lower()}",
        lambda secret: json.dumps({"a": secret}).replace("/", "\\/"),
    ],
)
def test_a_known_secret_is_masked_however_often_it_was_quoted(secret: str, quote_it: Callable[[str], object]) -> None:
    line = rendered("event", (secret,), body=quote_it(secret))

    assert "kn0wn" not in line


def test_special_characters_of_a_secret_are_no_pattern() -> None:
    redact = logs.Redactor(["a.*b+c(d[", "CaseSensitive"])

    assert redact("aXXb+c(d[ a.*b+c(d[ casesensitive") == "aXXb+c(d[ **** casesensitive"


@pytest.mark.parametrize(
    "separator", ["\n", "\r\n", "\t", "\x1b[31m", "\x00", '"', "'", "\\", "é", "=", "%3D", "(", "_"]
)
def test_a_secret_is_masked_whatever_stands_in_front_of_it(separator: str) -> None:
    key = "sk-proj-0123456789abcdefghijklmn"

    line = rendered(f"got{separator}{key}", url=f"redis://u{separator}:p", bearer=f"{separator}Bearer abcdefgh12345678")

    assert key not in line
    assert "abcdefgh12345678" not in line


@dataclass(frozen=True)
class Holder:
    name: str
    hidden: str = field(repr=False)


def test_a_dataclass_shows_its_repr_which_leaves_out_what_is_secret() -> None:
    ring = Keyring.parse(f"k1:{sealing.generate_key()}")

    line = rendered("event", holder=Holder("name", "hidden-value"), nested=[{"ring": ring}])

    assert "Holder(name='name')" in line
    assert "hidden-value" not in line
    assert repr(ring.keys["k1"])[2:12] not in line
    assert json.loads(line)["nested"] == [{"ring": "Keyring(primary='k1')"}]


@pytest.mark.parametrize("log", [logging.getLogger("library"), logs.get("ours")])
def test_tracebacks_are_in_the_line_and_redacted(lines: Read, log: Any) -> None:
    try:
        try:
            raise KeyError(f"\n{TOKEN}")
        except KeyError as error:
            raise ValueError(
                f"first line\n{TOKEN}\nBearer abcdefgh12345678\n{KNOWN} postgresql://u:hunter2@db"
            ) from error
    except ValueError:
        log.exception("crashed")

    [line] = lines()

    assert line["event"] == "crashed"
    assert "Traceback (most recent call last)" in line["exception"]
    assert "test_tracebacks_are_in_the_line_and_redacted" in line["exception"]
    assert "KeyError" in line["exception"]
    for secret in (TOKEN, KNOWN, json.dumps(KNOWN)[1:-1], "abcdefgh12345678", "hunter2@"):
        assert secret not in repr(line)
        assert secret not in line["exception"]


def test_arguments_of_library_messages_are_redacted(lines: Read) -> None:
    logging.getLogger("library").info("opened %s with %r", "redis://:hunter2@cache", {"key": KNOWN, "token": TOKEN})

    [line] = lines()

    assert line["event"].startswith("opened redis://:****@cache with {")
    assert TOKEN not in line["event"]
    assert "se\\" not in line["event"]


def test_contextual_and_bound_values_are_redacted(lines: Read) -> None:
    structlog.contextvars.bind_contextvars(token=TOKEN)

    logs.get("room").bind(key=KNOWN).info("event")

    [line] = lines()
    assert (line["token"], line["key"]) == ("sk-llmp-****ahrm", "****")


TOKENS = st.builds(
    tokens.generate, st.binary(min_size=24, max_size=24), st.sampled_from([tokens.PREFIX, tokens.OPERATOR_PREFIX])
)
KEYS = st.builds(
    "sk-{}{}{}".format,
    st.sampled_from(["", "proj-", "ant-api03-", "or-v1-", "svcacct-"]),
    st.text(string.ascii_letters + string.digits + "_-", min_size=20, max_size=80),
    st.sampled_from(string.digits),
)
# What MANAGEMENT_TOKEN and TOKEN_PEPPER may be made of.
KNOWN_SECRETS = st.text([chr(code) for code in range(33, 127)], min_size=16, max_size=60).filter(
    lambda text: len(set(text)) >= 10
)
PLACES: list[Callable[[str], object]] = [
    str,
    lambda secret: [{"deep": ({"er": [secret]},)}],
    lambda secret: {secret: 1},
    lambda secret: {("a", secret): 1},
    lambda secret: secret.encode(),
    lambda secret: {"set of": {secret}},
    lambda secret: ValueError("broken", secret),
    lambda secret: KeyError({"deep": [secret]}),
    lambda secret: Holder(secret, "hidden"),
    lambda secret: f"https://api.example.org/v1/models?key={quote(secret)}&x=1",
    lambda secret: f"https://api.example.org/?{quote_plus(secret)}",
    lambda secret: f"https://user:{quote(secret, safe='')}@example.org/",
    lambda secret: [f"\udcff{secret}", 1 << 70],
    lambda secret: f"\udcff{secret}",
    lambda secret: json.dumps({"body": secret}),
    lambda secret: ValueError(json.dumps({"body": secret})),
]


def spellings(secret: str) -> set[str]:
    """The ways in which a reader of the line would get at the secret."""
    return {secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1], json.dumps(secret)[1:-1]}


def texts_within(line: str) -> Iterator[str]:
    """The line, and every text in it after reading it as JSON."""
    yield line
    values = [json.loads(line)]
    while values:
        value = values.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            values += value
        elif isinstance(value, dict):
            values += [*value.keys(), *value.values()]


@pytest.mark.parametrize("place", PLACES)
@given(secret=TOKENS | KEYS, before=st.text(max_size=8))
@example(secret=TOKEN, before="\n")
@example(secret="sk-" + "a" * 20 + "0", before="\x1b[0m")
@settings(max_examples=25)
def test_no_token_and_no_key_gets_through_wherever_it_stands(
    place: Callable[[str], object], secret: str, before: str
) -> None:
    line = rendered("event", value=place(before + secret), direct=place(secret))

    assert not [text for text in texts_within(line) if secret in text]


@pytest.mark.parametrize("place", PLACES)
@given(secret=KNOWN_SECRETS)
@example(secret=KNOWN)
@example(secret="'quoted' \"both\" \\ways\\".replace(" ", ""))
@settings(max_examples=25)
def test_no_known_secret_gets_through_wherever_it_stands(place: Callable[[str], object], secret: str) -> None:
    line = rendered("event", (secret,), value=place(secret))

    assert not [text for text in texts_within(line) for spelling in spellings(secret) if spelling in text]


@given(secret=TOKENS | KEYS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_token_and_no_key_gets_through_a_traceback(lines: Read, secret: str) -> None:
    try:
        raise RuntimeError(f"upstream said\n{secret}") from KeyError(f"\t{secret}")
    except RuntimeError:
        logs.get("ours").exception("crashed", body=secret)
        logging.getLogger("library").exception("crashed with %s", secret)

    for line in lines():
        assert "RuntimeError" in line["exception"]
        assert not [text for text in texts_within(json.dumps(line)) if secret in text]


@given(st.text(), KNOWN_SECRETS)
@settings(max_examples=50)
def test_redaction_leaves_a_line_that_is_still_json(text: str, secret: str) -> None:
    line = rendered(f"{text} {secret} {TOKEN} Bearer {secret}", (secret,), **{"x": f"redis://u:{secret}@h"})

    assert set(json.loads(line)) >= {"event", "x"}
