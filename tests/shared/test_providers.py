"""The provider table: what reaches a provider, what does not, and how a wrong table says so."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import providers
from shared.models import Feature
from shared.provider_schema import (
    METHODS,
    CredentialSchema,
    ProviderRetrySchema,
    ProviderSchema,
    RouteSchema,
    TimeoutsSchema,
)
from shared.providers import (
    Credential,
    Match,
    Provider,
    ProviderTableError,
    RetryPolicy,
    Route,
    Timeouts,
    load,
    parse,
)

TABLE = load()
ROUTES = [(name, route) for name, provider in TABLE.providers.items() for route in provider.routes]
type Chosen = tuple[str, Route]

SMALL = """
[providers.acme]
base_url = "https://api.acme.example"
dialect = "opaque"
credential = { header = "X-Acme-Key", scheme = "" }
max_body_bytes = 1000
routes = [
    { name = "things", path = "/v1/things", methods = ["GET", "POST"] },
    { name = "things.one", path = "/v1/things/{thing}", methods = ["GET", "DELETE"] },
    { name = "pictures", path = "/v1/pictures", methods = ["PUT"], body = "multipart", max_body_bytes = 50 },
]
"""


# The same with everything that is optional, each key once for the provider and once for a route.
FULL = """
[providers.acme]
base_url = "https://api.acme.example"
dialect = "openai"
credential = { header = "X-Acme-Key", scheme = "" }
timeouts = { connect = 2, first_byte = 20.5, idle = 0 }
retry = { attempts = 5, within = 12, posts = ["things"] }
features = { breaker = false, retries = true }
routes = [
    { name = "things", path = "/v1/things", methods = ["GET", "POST"], required = ["colour"], stream_usage = true },
    { name = "pictures", path = "/v1/pictures", methods = ["PUT", "POST"], timeouts = { idle = 7, total = 60 } },
    { name = "songs", path = "/v1/songs", methods = ["POST"], retry = { attempts = 1, within = 0 }, validate = false },
    { name = "phone", path = "/v1/phone", methods = ["GET"], upgrade = "websocket" },
    { name = "notes", path = "/v1/notes", methods = ["POST", "GET"], costs = false },
    { name = "papers", path = "/v1/papers", methods = ["GET", "PUT"], model = false },
]
"""


def acme(text: str) -> Provider:
    return parse(text, "acme.toml").providers["acme"]


def route_of(text: str, name: str) -> Route:
    [found] = [route for route in acme(text).routes if route.name == name]
    return found


def names(match: Match) -> dict[str, str]:
    return {provider: route.name for provider, route in match.routes.items()}


def test_endpoint_matches_the_provider_that_has_it() -> None:
    assert names(TABLE.match("POST", "/v1/chat/completions")) == {"openai": "chat.completions"}
    assert names(TABLE.match("POST", "/v1/messages")) == {"anthropic": "messages"}


def test_path_that_several_providers_have_matches_each_of_them() -> None:
    assert names(TABLE.match("GET", "/v1/models")) == {"openai": "models", "anthropic": "models"}
    assert names(TABLE.match("GET", "/v1/models/m")) == {"openai": "models.one", "anthropic": "models.one"}
    assert names(TABLE.match("DELETE", "/v1/models/m")) == {"openai": "models.one"}


@pytest.mark.parametrize("model", ["ft:gpt-4o-mini:org::abc", "ft%3Agpt-4o-mini%3Aorg%3A%3Aabc"])
def test_fine_tuned_model_matches_raw_and_encoded(model: str) -> None:
    assert names(TABLE.match("DELETE", f"/v1/models/{model}")) == {"openai": "models.one"}


@pytest.mark.parametrize("method", ["DELETE", "PUT", "HEAD", "OPTIONS", "CONNECT", "TRACE", "get", ""])
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/resp_1/cancel"])
def test_known_path_with_another_method_tells_what_is_allowed(method: str, path: str) -> None:
    match = TABLE.match(method, path)

    assert not match.routes
    assert match.allowed == {"POST"}


def test_allowed_methods_are_those_of_all_providers() -> None:
    assert TABLE.match("PUT", "/v1/models/m").allowed == {"GET", "DELETE"}


@pytest.mark.parametrize(
    "path",
    [
        "/../v1/models",
        "/v1/models/../files",
        "/v1//models",
        "//v1/models",
        "/v1/models/",
        "/v1/%2e%2e/models",
        "/v1/models/%2e%2e",
        "/v1/models/..",
        "/v1/models/.",
        "/v1/models/%252e%252e",
        "/v1/models/a%2fb",
        "/v1/models/a%5Cb",
        "/v1/models\\x",
        "/v1\\models",
        "/v1/models/..;/x",
        "/v1/models/..;",
        "/v1/models;x=1",
        "/V1/models",
        "/v1/Models",
        "/v1/%6dodels",
        "/v1%2fmodels",
        "/v1/chat/completionsX",
        "/v1/chat/completions%20",
        "/v1/chat/completions%00",
        "/v1/chat",
        "/v1/models/%00",
        "/v1/models/%C0%AE",
        "/v1/models/%zz",
        "/v1/models/a%0d%0aHost:%20evil",
        "/v1/models?limit=1",
        "/v1/models#top",
        "/v1/models/{model}",
        "http://evil/v1/models",
        "evil.example:443",
        "v1/models",
        "*",
        "/",
        "",
        " /v1/models",
        "/v1/models ",
        "/v1/models\n",
        "/v1/models/" + "a" * 513,
        "/v1/models/" + "a" * 1_000_000,
        "/v1" + "/models" * 10_000,
        "/v1/responses/%63ompact",
        "/v1/organization/admin_api_keys",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_attack_is_an_unknown_path(method: str, path: str) -> None:
    assert TABLE.match(method, path) == Match({}, frozenset())


# Chosen so that no filled-in value is a literal of the table: a literal always wins over a parameter.
SAFE_VALUES = st.text(st.characters(categories=["L", "N"], include_characters="-_.~:@"), min_size=1).map(
    lambda value: quote(f"id-{value}"[:40], safe=":@")
)
TRAVERSALS = st.sampled_from(
    ["..", ".", "%2e%2e", ".%2E", "%252e%252e", "..;", "..%3bx", "..%2f", "..%5c", "..\\", "%c0%ae%c0%ae",
     "%zz", "%EF%BC%8E%EF%BC%8E", "a%2f..%2fb", "a\\..\\b", "", "%00", "..%00"]
)  # fmt: skip
PIECES = [*"./\\%;?#:{}a", "%2e", "%2F", "%25", "%41", "..", "models", "é"]
NASTY = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


def filled(data: st.DataObject, path: str, values: st.SearchStrategy[str]) -> str:
    return "/".join(data.draw(values) if segment.startswith("{") else segment for segment in path.split("/"))


@given(st.data(), st.sampled_from(ROUTES))
def test_template_filled_with_safe_values_matches_its_own_route(data: st.DataObject, chosen: Chosen) -> None:
    provider, route = chosen
    path = filled(data, route.path, SAFE_VALUES)

    assert all(TABLE.match(method, path).routes[provider] is route for method in route.methods)


@given(st.data(), st.sampled_from(ROUTES), TRAVERSALS)
def test_no_path_with_a_traversal_in_it_matches(data: st.DataObject, chosen: Chosen, attack: str) -> None:
    segments = filled(data, chosen[1].path, SAFE_VALUES).split("/")[1:]
    place = data.draw(st.integers(0, len(segments)))
    width = data.draw(st.integers(0, 1))

    path = "/" + "/".join([*segments[:place], attack, *segments[place + width :]])

    assert all(TABLE.match(method, path) == Match({}, frozenset()) for method in METHODS)


@given(st.data(), st.sampled_from(ROUTES), st.just("") | NASTY)
def test_whatever_matches_spells_its_route_safely(data: st.DataObject, chosen: Chosen, tail: str) -> None:
    path = filled(data, chosen[1].path, SAFE_VALUES | NASTY) + tail
    matches = [route for method in METHODS for route in TABLE.match(method, path).routes.values()]

    for route in matches:
        pairs = list(zip(route.path.split("/"), path.split("/"), strict=True))
        assert all(is_harmless(raw) if literal.startswith("{") else raw == literal for literal, raw in pairs)


def is_harmless(raw: str) -> bool:
    value = unquote(raw, errors="strict")
    return unquote(value) == value not in ("", ".", "..") and not re.search(r"[\s/\\%;?#\0-\x1f]", value)


def test_match_cannot_be_changed_by_its_readers() -> None:
    with pytest.raises(TypeError):
        TABLE.match("GET", "/v1/models").routes["evil"] = ROUTES[0][1]  # type: ignore[index]


def test_bundled_providers_are_reached_with_their_own_credential() -> None:
    openai_, anthropic = TABLE.providers["openai"], TABLE.providers["anthropic"]

    assert (openai_.base_url, openai_.dialect) == ("https://api.openai.com", "openai")
    assert openai_.credential == Credential("authorization", "Bearer")
    assert (anthropic.base_url, anthropic.dialect) == ("https://api.anthropic.com", "anthropic")
    assert anthropic.credential == Credential("x-api-key", "")


def test_credential_renders_with_and_without_a_scheme() -> None:
    assert Credential("authorization", "Bearer").value("sk-1") == "Bearer sk-1"
    assert Credential("x-api-key", "").value("sk-1") == "sk-1"


def test_route_falls_back_on_the_defaults_of_its_provider_and_methods() -> None:
    acme = parse(SMALL, "acme.toml").providers["acme"]
    things, one, pictures = acme.routes

    assert acme.credential.header == "x-acme-key"
    assert things == Route("things", "/v1/things", frozenset({"GET", "POST"}), "json", 1000)
    assert (one.body, one.max_body_bytes) == ("none", 1000)
    assert (pictures.body, pictures.max_body_bytes) == ("multipart", 50)


def test_limit_is_32_mib_if_the_provider_sets_none() -> None:
    acme = parse(SMALL.replace("max_body_bytes = 1000", ""), "acme.toml").providers["acme"]

    assert acme.routes[0].max_body_bytes == 32 * 1024 * 1024


def test_route_has_the_default_timeouts_and_retries_if_nobody_says_otherwise() -> None:
    things = route_of(SMALL, "things")

    assert things.timeouts == Timeouts(connect=10, first_byte=600, idle=300, total=None)
    assert things.retry == RetryPolicy(attempts=3, within=30, unsafe=False)
    assert (things.required, things.validates, things.upgrade) == ((), True, "none")


@pytest.mark.parametrize(
    ("name", "timeouts"),
    [
        ("things", Timeouts(connect=2, first_byte=20.5, idle=None, total=None)),
        ("pictures", Timeouts(connect=2, first_byte=20.5, idle=7, total=60)),
    ],
    ids=["of the provider", "of the route"],
)
def test_timeout_is_the_routes_then_the_providers_then_the_default(name: str, timeouts: Timeouts) -> None:
    assert route_of(FULL, name).timeouts == timeouts


@pytest.mark.parametrize("phase", ["connect", "first_byte", "idle", "total"])
@pytest.mark.parametrize("zero", ["0", "0.0"])
def test_timeout_of_zero_is_none_at_all(phase: str, zero: str) -> None:
    own = FULL.replace("idle = 7, total = 60", f"{phase} = {zero}")
    shared = FULL.replace("connect = 2, first_byte = 20.5, idle = 0", f"{phase} = {zero}")

    assert getattr(route_of(own, "pictures").timeouts, phase) is None
    assert getattr(route_of(shared, "things").timeouts, phase) is None


def test_retries_are_the_routes_then_the_providers_then_the_default() -> None:
    assert route_of(FULL, "pictures").retry == RetryPolicy(5, 12, unsafe=False)
    assert route_of(FULL, "songs").retry == RetryPolicy(1, 0, unsafe=False)


def test_only_posts_that_are_named_may_be_repeated_after_they_may_have_arrived() -> None:
    assert [route.name for route in acme(FULL).routes if route.retry.unsafe] == ["things"]


def test_naming_a_post_survives_the_routes_own_retries() -> None:
    text = FULL.replace('required = ["colour"]', "retry = { attempts = 2 }")

    assert route_of(text, "things").retry == RetryPolicy(2, 12, unsafe=True)


def test_required_fields_validation_and_upgrade_are_the_routes() -> None:
    assert route_of(FULL, "things").required == ("colour",)
    assert [route.name for route in acme(FULL).routes if not route.validates] == ["songs"]
    assert [route.name for route in acme(FULL).routes if route.upgrade == "websocket"] == ["phone"]
    assert [route.name for route in acme(FULL).routes if route.stream_usage] == ["things"]


@pytest.mark.parametrize(
    ("name", "free", "paid"),
    [
        ("things", {"GET", "HEAD", "DELETE"}, {"POST", "PUT", "PATCH"}),
        ("phone", set(), {"GET"}),
        ("notes", {"GET", "POST"}, set()),
        ("papers", {"GET", "PUT"}, set()),
    ],
)
def test_what_makes_nothing_new_is_free(name: str, free: set[str], paid: set[str]) -> None:
    route = route_of(FULL, name)

    assert {method for method in free | paid if route.is_free(method)} == free


@pytest.mark.parametrize(
    ("method", "path", "is_free"),
    [
        ("POST", "/v1/chat/completions", False),
        ("POST", "/v1/chat/completions/c-1", True),
        ("GET", "/v1/chat/completions", True),
        ("POST", "/v1/responses", False),
        ("POST", "/v1/responses/input_tokens", True),
        ("POST", "/v1/responses/r-1/cancel", True),
        ("POST", "/v1/moderations", True),
        ("POST", "/v1/embeddings", False),
        ("POST", "/v1/files", True),
        ("POST", "/v1/vector_stores", True),
        ("POST", "/v1/conversations", True),
        ("POST", "/v1/batches", False),
        ("POST", "/v1/threads/t-1/runs", False),
        ("POST", "/v1/threads/t-1/runs/r-1", True),
        ("GET", "/v1/realtime", False),
        ("POST", "/v1/messages", False),
        ("POST", "/v1/messages/count_tokens", True),
    ],
)
def test_the_bundled_table_tells_what_is_free(method: str, path: str, is_free: bool) -> None:
    assert [route.is_free(method) for route in TABLE.match(method, path).routes.values()] in ([is_free], [is_free] * 2)


def test_every_feature_is_on_unless_the_provider_turns_it_off() -> None:
    assert acme(SMALL).features == dict.fromkeys(Feature, True)
    assert acme(FULL).features == dict.fromkeys(Feature, True) | {Feature.BREAKER: False}


def test_features_cannot_be_changed_by_their_readers() -> None:
    with pytest.raises(TypeError):
        acme(FULL).features[Feature.RETRIES] = False  # type: ignore[index]


def test_credential_headers_of_all_providers_are_told() -> None:
    assert parse(SMALL, "acme.toml").credential_headers == {"x-acme-key"}
    assert TABLE.credential_headers == {"authorization", "x-api-key"}


def test_credential_schemes_are_told_as_they_are_compared() -> None:
    assert TABLE.credential_schemes == {"", "bearer"}
    assert parse(SMALL.replace('scheme = ""', 'scheme = "Token"'), "").credential_schemes == {"", "bearer", "token"}


def test_body_is_expected_of_methods_that_have_one() -> None:
    things, _, pictures = parse(SMALL, "acme.toml").providers["acme"].routes

    assert (things.body_of("POST"), things.body_of("GET")) == ("json", "none")
    assert pictures.body_of("PUT") == "multipart"


def faults_of(text: str) -> list[str]:
    with pytest.raises(ProviderTableError) as caught:
        parse(text, "acme.toml")
    return caught.value.faults


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("[providers.acme]", "[providers.Acme]", "providers.Acme: must be a-z 0-9 _ - from a letter on"),
        ("https://api.acme.example", "acme", "providers.acme.base_url: must be an http:// or https:// URL"),
        ('"opaque"', '"klingon"', "providers.acme.dialect: Must be one of: openai, anthropic, opaque."),
        ("X-Acme-Key", "X Acme", "providers.acme.credential.header: must be a header name"),
        ("X-Acme-Key", "Content-Length", "providers.acme.credential.header: must be a header name"),
        ('scheme = ""', 'scheme = "Bea rer"', "providers.acme.credential.scheme: must be a scheme"),
        (', scheme = ""', "", "providers.acme.credential.scheme: Missing data for required field."),
        ("1000", "true", "providers.acme.max_body_bytes: Not a valid integer."),
        ("1000", "0", "providers.acme.max_body_bytes: Must be greater than or equal to 1."),
        ("= 50 ", '= "5 MB" ', "providers.acme.routes[2].max_body_bytes: Not a valid integer."),
        ('"things"', '"All Things"', "providers.acme.routes[0].name: must be dotted words"),
        ('"things.one"', '"things"', "providers.acme.routes[1].name: means the same as routes[0].name"),
        ("/v1/pictures", "/v1/things/{x}", "providers.acme.routes[2].path: means the same as routes[1].path"),
        ("/v1/pictures", "/v1/pictures/", "providers.acme.routes[2].path: must not have an empty segment"),
        ('["PUT"]', "[]", "providers.acme.routes[2].methods: must not be empty"),
        ('["PUT"]', '["PUT", "put"]', "providers.acme.routes[2].methods[1]: Must be one of: GET, HEAD"),
        ('["PUT"]', '["GET"]', "providers.acme.routes[2].body: needs POST, PUT or PATCH"),
        ("multipart", "xml", "providers.acme.routes[2].body: Must be one of: none, json"),
        ("body =", "bodi =", "providers.acme.routes[2].bodi: unknown key; did you mean body?"),
        ("dialect", "dailect", "providers.acme.dailect: unknown key; did you mean dialect?"),
        ("[providers.acme]", "zzz = 1\n[providers.acme]", "zzz: unknown key"),
        ('{ header = "X-Acme-Key", scheme = "" }', "3", "providers.acme.credential: must be a table"),
    ],
)  # fmt: skip
def test_fault_is_named_by_its_place(before: str, after: str, fault: str) -> None:
    assert SMALL.count(before) >= 1

    assert any(line.startswith(fault) for line in faults_of(SMALL.replace(before, after, 1)))


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("connect = 2", "connect = -1", "timeouts.connect: Must be greater than or equal to 0"),
        ("connect = 2", "connect = 86_401", "timeouts.connect: Must be greater than or equal to 0"),
        ("connect = 2", 'connect = "2"', "timeouts.connect: must be a number of seconds"),
        ("connect = 2", "connect = true", "timeouts.connect: must be a number of seconds"),
        ("connect = 2", "connect = nan", "timeouts.connect: must be a number of seconds"),
        ("connect = 2", "connect = inf", "timeouts.connect: must be a number of seconds"),
        pytest.param("connect = 2", "connect = " + "9" * 400, "timeouts.connect: must be a number", id="huge"),
        ("connect = 2", "conect = 2", "timeouts.conect: unknown key; did you mean connect?"),
        ("{ connect = 2, first_byte = 20.5, idle = 0 }", "30", "timeouts: must be a table"),
        ("idle = 7", "idle = []", "routes[1].timeouts.idle: must be a number of seconds"),
        ("total = 60", "totl = 60", "routes[1].timeouts.totl: unknown key; did you mean total?"),
        ("attempts = 5", "attempts = 0", "retry.attempts: Must be greater than or equal to 1"),
        ("attempts = 5", "attempts = 11", "retry.attempts: Must be greater than or equal to 1"),
        ("attempts = 5", "attempts = 2.5", "retry.attempts: Not a valid integer."),
        ("within = 12", "within = -1", "retry.within: Must be greater than or equal to 0"),
        ("within = 12", 'within = "12"', "retry.within: must be a number of seconds"),
        ('["things"]', '["thing"]', "retry.posts: names no route with POST: thing"),
        ('["things"]', '["zoo", "things", "phone"]', "retry.posts: names no route with POST: phone, zoo"),
        ('["things"]', '"things"', "retry.posts: Not a valid list."),
        ("attempts = 1", 'posts = ["songs"]', "routes[2].retry.posts: unknown key"),
        ("breaker = false", "braker = false", "features.braker: Must be one of: retries, key_failover"),
        ("breaker = false", 'breaker = "off"', "features.breaker: must be true or false"),
        ("breaker = false", "breaker = 0", "features.breaker: must be true or false"),
        ("{ breaker = false, retries = true }", "false", "features: Not a valid mapping type."),
        ('["colour"]', '"colour"', "routes[0].required: Not a valid list."),
        ('["colour"]', '["colour", ""]', "routes[0].required[1]: must not be empty"),
        ('["colour"]', '["colour"], body = "any"', "routes[0].required: needs a JSON body"),
        ('upgrade = "websocket"', 'required = ["x"]', "routes[3].required: needs a JSON body"),
        ('"openai"', '"opaque"', "routes[0].required: means nothing where the dialect is opaque"),
        ("validate = false", "validate = 0", "routes[2].validate: must be true or false"),
        ("validate = false", 'validate = "false"', "routes[2].validate: must be true or false"),
        ("validate = false", "validates = false", "routes[2].validates: unknown key; did you mean validate?"),
        ("costs = false", "costs = 0", "routes[4].costs: must be true or false"),
        ('"websocket"', '"h2c"', "routes[3].upgrade: Must be one of: none, websocket."),
        ('["GET"], upgrade', '["POST"], upgrade', "routes[3].upgrade: needs GET among the methods"),
        ("stream_usage = true", "stream_usage = 1", "routes[0].stream_usage: must be true or false"),
        ("stream_usage = true", 'stream_usage = true, body = "any"', "routes[0].stream_usage: needs POST with a JSON"),
        ('["GET", "POST"]', '["PUT"]', "routes[0].stream_usage: needs POST with a JSON body"),
        ('"openai"', '"anthropic"', "routes[0].stream_usage: means nothing where the dialect is not openai"),
    ],
)  # fmt: skip
def test_fault_in_an_option_is_named_by_its_place(before: str, after: str, fault: str) -> None:
    assert FULL.count(before) == 1

    assert [line for line in faults_of(FULL.replace(before, after)) if line.startswith(f"providers.acme.{fault}")]


def test_route_without_upgrade_needs_no_get() -> None:
    text = FULL.replace('["GET"], upgrade = "websocket"', '["POST"], upgrade = "none"')

    assert route_of(text, "phone").upgrade == "none"


def test_all_faults_are_told_at_once() -> None:
    text = SMALL.replace("opaque", "x").replace('"pictures"', '"things"').replace("/v1/pictures", "v1")

    assert faults_of(text) == [
        "providers.acme.dialect: Must be one of: openai, anthropic, opaque.",
        "providers.acme.routes[2].path: must start with /",
        "providers.acme.routes[2].name: means the same as routes[0].name",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "providers: Missing data for required field."),
        ("providers = {}", "providers: must not be empty"),
        ("providers = 3", "providers: Not a valid mapping type."),
        ("[providers.acme]\nroutes = []", "providers.acme.routes: must not be empty"),
        ("a = 1\nb = = 2", "is not TOML: Invalid value (at line 2, column 5)"),
        ("a = 1\na = 2\n", "is not TOML: Cannot overwrite a value (at line 2, column 6)"),
        ("a = 1\nb = [", "is not TOML: Invalid value (at line 2, the end of the document)"),
        ("a = 1\n\nb = [1,\n", "is not TOML: Invalid value (at line 3, the end of the document)"),
        ("a =", "is not TOML: Invalid value (at line 1, the end of the document)"),
        ('a = """\nb\n', "is not TOML: Unterminated string (at line 2, the end of the document)"),
        pytest.param("a = " + "[" * 100_000, "is not TOML: nested too deeply", id="endless nesting"),
        pytest.param("a = " + "9" * 5_000, "is not TOML: Exceeds the limit", id="endless number"),
    ],
)
def test_text_that_is_no_table_is_refused(text: str, fault: str) -> None:
    assert any(line.startswith(fault) for line in faults_of(text))


def test_message_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(SMALL.replace("/v1/things/{thing}", "/"))

    with pytest.raises(ProviderTableError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file} needs attention:\n  providers.acme.routes[1].path: ")


def test_file_of_ones_own_replaces_the_bundled_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(SMALL)

    assert list(load(file).providers) == ["acme"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_unreadable_file_is_a_table_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ProviderTableError, match="cannot be read"):
        load(file)


# --- what the bundled table says of its routes ---

# POST routes that may be sent again although the first one may have been served.
REPEATABLE = {
    "openai": {
        "audio.speech",
        "audio.transcriptions",
        "audio.translations",
        "chat.completions",
        "completions",
        "embeddings",
        "images.edits",
        "images.generations",
        "images.variations",
        "moderations",
        "responses",
        "responses.compact",
        "responses.input_tokens",
    },
    "anthropic": {"messages", "messages.count_tokens"},
}


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_only_posts_without_lasting_effect_are_repeatable(provider: str) -> None:
    repeatable = {route.name for name, route in ROUTES if name == provider and route.retry.unsafe}

    assert repeatable == REPEATABLE[provider]


@pytest.mark.parametrize("word", ["batches", "files", "uploads", "fine_tuning", "threads", "assistants", "agents"])
def test_what_makes_something_at_the_provider_is_never_repeatable(word: str) -> None:
    making = [route for _, route in ROUTES if word in route.name.split(".")]

    assert making
    assert not any(route.retry.unsafe for route in making)


def test_required_fields_are_those_the_providers_documentation_calls_required() -> None:
    assert {(name, route.name): route.required for name, route in ROUTES if route.required} == {
        ("openai", "chat.completions"): ("model", "messages"),
        ("openai", "completions"): ("model",),
        ("openai", "embeddings"): ("model", "input"),
        ("openai", "moderations"): ("input",),
        ("openai", "audio.speech"): ("model", "input", "voice"),
        ("anthropic", "messages"): ("model", "messages", "max_tokens"),
        ("anthropic", "messages.count_tokens"): ("model", "messages"),
    }


def test_streams_of_chat_and_completions_are_asked_for_their_usage() -> None:
    asked = {(name, route.name) for name, route in ROUTES if route.stream_usage}

    assert asked == {("openai", "chat.completions"), ("openai", "completions")}


def test_realtime_is_the_only_route_that_switches_protocols() -> None:
    [(provider, realtime)] = [(name, route) for name, route in ROUTES if route.upgrade != "none"]

    assert (provider, realtime.name, realtime.path) == ("openai", "realtime", "/v1/realtime")
    assert (realtime.upgrade, realtime.methods) == ("websocket", {"GET"})
    assert names(TABLE.match("GET", "/v1/realtime")) == {"openai": "realtime"}


def limits(route: Route) -> tuple[float | None, ...]:
    return route.timeouts.connect, route.timeouts.first_byte, route.timeouts.idle


def test_every_bundled_route_gives_up_on_a_provider_that_is_silent() -> None:
    endless = [route.name for _, route in ROUTES if None in limits(route)]

    assert endless == []


def test_no_bundled_stream_is_ended_while_it_goes_on() -> None:
    assert [route.name for _, route in ROUTES if route.timeouts.total is not None] == []


def test_every_bundled_request_may_be_tried_again_within_what_a_client_waits() -> None:
    assert all(route.retry.attempts >= 2 and 0 < route.retry.within <= 60 for _, route in ROUTES)


def test_bundled_providers_leave_every_feature_on() -> None:
    assert all(provider.features == dict.fromkeys(Feature, True) for provider in TABLE.providers.values())


SCHEMAS = [ProviderSchema, CredentialSchema, TimeoutsSchema, ProviderRetrySchema, RouteSchema]
KEYS = {field.data_key or name for schema in SCHEMAS for name, field in schema().fields.items()} | set(Feature)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_key_is_explained_in_the_bundled_table_and_in_the_documentation(key: str) -> None:
    head, _, _ = Path(providers.__file__).with_name("providers.toml").read_text().partition("[providers.openai]")
    documentation = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()

    assert re.search(rf"^#.*\b{key}\b", head, re.MULTILINE)
    assert re.search(rf"^\| `{key}` \|", documentation, re.MULTILINE)


def test_the_example_of_the_documentation_is_a_table() -> None:
    documentation = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()
    [example] = re.findall(r"```toml\n(.*?)```", documentation, re.DOTALL)

    assert [route.name for route in acme(example).routes] == ["search", "documents", "documents.one"]


# --- completeness: what the official SDK can call ---

# (method, path) as the SDK spells them, each with the reason why the proxy does not offer it.
NOT_OFFERED = {
    ("POST", "/realtime/client_secrets"): "answers with a credential that bypasses the proxy",
    ("POST", "/realtime/translations/client_secrets"): "answers with a credential that bypasses the proxy",
    ("POST", "/realtime/sessions"): "answers with a credential that bypasses the proxy",
    ("POST", "/realtime/transcription_sessions"): "answers with a credential that bypasses the proxy",
    ("POST", "/chatkit/sessions"): "answers with a credential that bypasses the proxy",
    ("POST", "/realtime/calls"): "connects the caller with the provider past the proxy",
    ("POST", "/live/sessions"): "connects the caller with the provider past the proxy",
    ("POST", "/live/sessions/{session_id}/fork"): "connects the caller with the provider past the proxy",
}
# Administration: needs admin keys, or hands out webhook secrets and redirects the events of all callers.
NOT_OFFERED_BELOW = ("/organization", "/projects", "/webhook_endpoints")

VERBS = "get_api_list|get|post|put|patch|delete"
CALL_BEGINS = re.compile(rf"self\._({VERBS})\(")
PATH = r'\s*(?:path_template\(\s*)?"(/[^"?]*)[^"]*"'
CALL = re.compile(CALL_BEGINS.pattern + PATH + r"(.*?)^ +\)$", re.DOTALL | re.MULTILINE)
# Method, path without /v1, and what is sent: "multipart", "json" or "nothing".
type Operation = tuple[str, str, str]


@cache
def sdk_source() -> str:
    # Importing the SDK takes longer than reading it.
    spec = find_spec("openai")
    assert spec and spec.origin
    folder = Path(spec.origin).parent / "resources"
    return "\n".join(file.read_text(encoding="utf-8") for file in folder.rglob("*.py"))


def operation_of(verb: str, path: str, arguments: str) -> Operation:
    named = dict(re.findall(r'^ +(files|body|method)="?(\w+)', arguments, re.MULTILINE))
    method = named.get("method", "get") if verb == "get_api_list" else verb
    return method.upper(), path, "multipart" if "files" in named else "json" if "body" in named else "nothing"


@cache
def sdk_operations() -> frozenset[Operation]:
    return frozenset(operation_of(*call.groups()) for call in CALL.finditer(sdk_source()))


def is_offered(method: str, path: str) -> bool:
    return (method, path) not in NOT_OFFERED and not path.startswith(NOT_OFFERED_BELOW)


def openai_route(method: str, path: str) -> Route | None:
    return TABLE.match(method, "/v1" + path.replace("{", "id-").replace("}", "")).routes.get("openai")


def test_sdk_is_read_to_the_end() -> None:
    found = {(method, path) for method, path, _ in sdk_operations()}

    assert len(CALL.findall(sdk_source())) == len(CALL_BEGINS.findall(sdk_source())) > 400
    assert {("POST", "/chat/completions"), ("POST", "/vector_stores/{vector_store_id}/search")} <= found
    assert found >= NOT_OFFERED.keys()


def test_every_call_of_the_official_sdk_has_a_route_of_its_own_path() -> None:
    wanted = {(method, path) for method, path, _ in sdk_operations() if is_offered(method, path)}
    routes = {(method, path): openai_route(method, path) for method, path in wanted}

    assert {call: route and route.path for call, route in routes.items()} == {c: "/v1" + c[1] for c in wanted}


def test_what_is_not_offered_matches_no_route() -> None:
    kept_out = {(method, path) for method, path, _ in sdk_operations() if not is_offered(method, path)}

    assert [call for call in kept_out if openai_route(*call)] == []


def test_route_takes_the_kind_of_body_that_the_sdk_sends() -> None:
    takes = {"multipart": {"multipart", "any"}, "json": {"json", "any"}, "nothing": {"none", "any"}}
    calls = [(method, path, sent) for method, path, sent in sdk_operations() if is_offered(method, path)]
    kinds = {(m, path, sent): route.body_of(m) for m, path, sent in calls if (route := openai_route(m, path))}

    assert [call for call, kind in kinds.items() if kind not in takes[call[2]]] == []


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/v1/messages", "messages"),
        ("POST", "/v1/messages/count_tokens", "messages.count_tokens"),
        ("POST", "/v1/messages/batches", "messages.batches"),
        ("GET", "/v1/messages/batches", "messages.batches"),
        ("GET", "/v1/messages/batches/msgbatch_1", "messages.batches.one"),
        ("DELETE", "/v1/messages/batches/msgbatch_1", "messages.batches.one"),
        ("POST", "/v1/messages/batches/msgbatch_1/cancel", "messages.batches.cancel"),
        ("GET", "/v1/messages/batches/msgbatch_1/results", "messages.batches.results"),
        ("GET", "/v1/models", "models"),
        ("GET", "/v1/models/claude-sonnet-4-5", "models.one"),
        ("GET", "/v1/files", "files"),
        ("POST", "/v1/files", "files"),
        ("GET", "/v1/files/file_1", "files.one"),
        ("DELETE", "/v1/files/file_1", "files.one"),
        ("GET", "/v1/files/file_1/content", "files.content"),
    ],
)
def test_anthropic_endpoint_is_offered(method: str, path: str, name: str) -> None:
    assert names(TABLE.match(method, path))["anthropic"] == name
