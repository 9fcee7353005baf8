"""Rules of reading a Content-Type."""

import pytest

from addons import media_types
from addons.media_types import MediaType
from addons.refusal import Refused
from shared.providers import BodyKind


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", MediaType("application/json")),
        ("application/json; charset=utf-8", MediaType("application/json", "utf-8")),
        ("application/json;charset=UTF-8", MediaType("application/json", "utf-8")),
        ('Application/JSON ; charset="utf-8" ; v=1;', MediaType("application/json", "utf-8")),
        ("multipart/form-data; boundary=AbC", MediaType("multipart/form-data", "", "AbC")),
        ('multipart/form-data; boundary="a b"', MediaType("multipart/form-data", "", "a b")),
    ],
)
def test_type_and_parameters_are_told_apart(content_type: str, expected: MediaType) -> None:
    assert media_types.parse(content_type) == expected


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "json",
        "application/json charset=utf-8",
        "application/json, text/plain",
        "application/json; charset",
        "application/json; charset=utf-8; charset=utf-16",
        "multipart/form-data; boundary=a; Boundary=b",
        "multipart/form-data; boundary*0=a",
        'multipart/form-data; boundary="a',
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(content_type: str) -> None:
    with pytest.raises(Refused) as refused:
        media_types.parse(content_type)

    assert refused.value.refusal.status == 400


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        (None, "json"),
        (None, "multipart"),
        ("application/json", "json"),
        ("application/json; charset=utf-8", "json"),
        ("application/json; charset=us-ascii", "json"),
        ("application/vnd.api+json", "json"),
        ("multipart/form-data; boundary=----WebKitFormBoundaryABC123", "multipart"),
        ("text/plain", "any"),
        ("rubbish", "any"),
        ("text/plain", "none"),
    ],
)
def test_a_fitting_kind_passes(content_type: str | None, kind: BodyKind) -> None:
    media_types.check(content_type, kind)


@pytest.mark.parametrize(
    ("content_type", "kind", "status"),
    [
        ("text/plain", "json", 415),
        ("application/x-www-form-urlencoded", "json", 415),
        ("multipart/form-data; boundary=a", "json", 415),
        ("application/jsonp", "json", 415),
        ("application/json; charset=utf-7", "json", 415),
        ("application/json; charset=utf-16", "json", 415),
        ("application/json", "multipart", 415),
        ("multipart/mixed; boundary=a", "multipart", 415),
        ("multipart/form-data", "multipart", 400),
        ("multipart/form-data; boundary=", "multipart", 400),
        ('multipart/form-data; boundary="a "', "multipart", 400),
        ("multipart/form-data; boundary=" + "a" * 71, "multipart", 400),
    ],
)
def test_another_kind_is_refused(content_type: str, kind: BodyKind, status: int) -> None:
    with pytest.raises(Refused) as refused:
        media_types.check(content_type, kind)

    assert refused.value.refusal.status == status
