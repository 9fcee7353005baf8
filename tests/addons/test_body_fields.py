"""Rules of reading a body's top level: right, or not at all."""

import json

import pytest

from addons.body_fields import OPAQUE, form_fields, json_fields
from addons.refusal import Refused

GOVERNED = {"model", "max_tokens"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", {}),
        (b" { } ", {}),
        (b'{"model":"m"}', {"model": "m"}),
        (b'\r\n{ "a" : [1, {"model": "x", "model": "y"}] ,\t"model" : "m" }\n', {"model": "m"}),
        (b'{"\\u006dodel":"m"}', {"model": "m"}),
        (b'{"model":"\\u006d\\n"}', {"model": "m\n"}),
        (b'{"a\\"b":1,"model":null,"max_tokens":1e3}', {"model": None, "max_tokens": 1000.0}),
        (b'{"a":"}","b":"\\"model\\":1","model":"m"}', {"model": "m"}),
        (b'{"model":["m"],"max_tokens":true}', {"model": ["m"], "max_tokens": True}),
        ('{"ä":"ü","model":"m"}'.encode(), {"model": "m"}),
    ],
)
def test_json_is_read_by_its_top_level(body: bytes, expected: dict[str, object]) -> None:
    assert json_fields(body, GOVERNED) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","model":"a"}',
        b'{"model":"a","\\u006dodel":"b"}',
        b'{"x":1,"x":1}',
        b'{"x":12,"model":"m","x":1}',
        b'{"x":1,"model":"m","x":12}',
        b'{"x":{"a":1},"x":{"a":1}, "model":"m"}',
        b'{"model":"a","Model":"b"}',
        b'{"MODEL":"b"}',
        b'{"model ":"b"}',
        b'{"model\\u0000":"b"}',
        b'{"\\u2028":"b"}',
        b'{"model[]":"b"}',
        b'{"maxTokens":5}',
        '{"ma\u0445_tokens":1,"MAX_TO\u212aENS":5}'.encode(),
        b"\xef\xbb\xbf" + b'{"model":"m"}',
        b'{"model":NaN}',
        b'{"x":NaN}',
        b'{"x":"\xff"}',
        b'{"x":"\\ud800"}',
        b"{model:1}",
        b"{'model':'m'}",
        b'{"model":"m",}',
        b'{"model":"m"}{"model":"n"}',
        b'/**/{"model":"m"}',
        '{"model":"m"}'.encode("utf-16"),
        b"[]",
        b"",
    ],
)
def test_json_that_another_parser_could_read_otherwise_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        json_fields(body, GOVERNED)

    assert refused.value.refusal.status == 400


def test_a_value_too_long_or_too_large_to_be_meant_is_not_looked_at() -> None:
    fields = json_fields(json.dumps({"model": "m" * 2000, "max_tokens": 10**400}).encode(), GOVERNED)

    assert fields["model"] is OPAQUE and not isinstance(fields["max_tokens"], str)


def test_every_cut_and_every_doubled_field_of_a_body_is_noticed() -> None:
    body = b'{"messages":[{"content":"a\\"}{"}],"model":"m","stream":true}'

    for length in range(len(body)):
        with pytest.raises(Refused):
            json_fields(body[:length], GOVERNED)
    for field in (b'"messages":1,', b'"model":"m",', b'"stream":true,'):
        with pytest.raises(Refused):
            json_fields(b"{" + field + body[1:], GOVERNED)


def part(name: str, content: bytes, more: str = "", headers: str = "") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"{more}\r\n{headers}\r\n'.encode() + content


def form(*parts: bytes) -> bytes:
    return b"".join(b"--B\r\n" + each + b"\r\n" for each in parts) + b"--B--\r\n"


FILE = part("file", b"\x00\r\n\r\n\xff" * 999, '; filename="a.mp3"', "Content-Type: audio/mpeg\r\n")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (form(), {}),
        (form(part("model", b"whisper-1")), {"model": "whisper-1"}),
        (form(FILE, part("model", b"whisper-1"), FILE), {"model": "whisper-1"}),
        (form(part("model", b"")), {"model": ""}),
        (form(part("model", b"a\r\nb")), {"model": "a\r\nb"}),
        (form(part("max_tokens", b"5"), part("x", b"1"), part("x", b"2")), {"max_tokens": "5"}),
        (form(part("model", b"m", headers="Content-Transfer-Encoding: 8bit\r\n")), {"model": "m"}),
        (form(part("model", b"m", '; filename="m"')), {"model": OPAQUE}),
        (form(part("model", b"m" * 2000)), {"model": OPAQUE}),
        (form(part("f", b"", "; filename=\"a;b.png\"; filename*=UTF-8''a%3Bb.png")), {}),
        (form(part("model", b"m"))[:-2], {"model": "m"}),
        (form(b"Content-Disposition: form-data; name=model\r\n\r\nm"), {"model": "m"}),
        (form(b"Content-Disposition: form-data; name=f; filename=a.b; filename*=utf-8''a.b\r\n\r\nm"), {}),
        (form(part("model", b"m", headers="Content-Type: text/plain; charset=UTF-8\r\n")), {"model": "m"}),
        (form(part("f", b"m", '; filename="a"', "Content-Type: text/plain; charset=latin1\r\n")), {}),
    ],
    ids=range(15),
)
def test_a_form_is_read_by_its_parts(body: bytes, expected: dict[str, object]) -> None:
    assert form_fields(body, "B", GOVERNED) == expected


@pytest.mark.parametrize(
    "body",
    [
        form(part("model", b"a"), part("model", b"b")),
        form(part("model", b"a"), part("Model", b"b")),
        form(part("model", b"+AG0-", headers="Content-Type: text/plain; charset=utf-7\r\n")),
        form(part("x", b"y", headers="Content-Type: text/plain; charset=utf-16\r\n")),
        form(part("model", b"m", headers="Content-Type: text\r\n")),
        form(part("_charset_", b"utf-7"), part("model", b"m")),
        form(part("_Charset_", b"utf-8"), part("model", b"m")),
        form(part("model[]", b"b")),
        form(part("model.0", b"b")),
        form(part("model", b"bQ==", headers="Content-Transfer-Encoding: base64\r\n")),
        form(part("model", b"m", '; name="x"')),
        form(part("x", b"m", '; filename="a"; name="model"')),
        form(part("mod\\el", b"m")),
        form(part("mod%65l", b"m")),
        form(part("mod\u00a0el", b"m")),
        form(part("file", b'a\n--B\nContent-Disposition: form-data; name="model"\n\nevil', '; filename="a"')),
        form(part("file", b"a\r\n--Bx\r\n", '; filename="a"')),
        form(b"Content-Disposition: form-data; name=mod el\r\n\r\nm"),
        form(b'Content-Disposition: attachment; name="model"\r\n\r\nm'),
        form(b'Content-Disposition: form-data;\r\n name="model"\r\n\r\nm'),
        form(b'Content-Disposition: form-data; name="x"\r\nContent-Disposition: form-data; name="model"\r\n\r\nm'),
        form(b'Content-Disposition : form-data; name="model"\r\n\r\nm'),
        form(b"X: y\r\n\r\nm"),
        form(b"\r\nm"),
        form(b"m"),
        b"preamble\r\n" + form(part("model", b"m")),
        b"\r\n" + form(part("model", b"m")),
        form(part("model", b"m")) + b"epilogue",
        form(part("model", b"m"))[:-4],
        form(part("model", b"m")).replace(b"\r\n", b"\n"),
        b"--B \r\n" + part("model", b"m") + b"\r\n--B--",
        b"--B",
        b"",
        b'{"model":"m"}',
    ],
    ids=range(34),
)
def test_a_form_that_another_parser_could_read_otherwise_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        form_fields(body, "B", GOVERNED)

    assert refused.value.refusal.status == 400
