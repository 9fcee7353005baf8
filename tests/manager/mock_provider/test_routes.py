"""Which paths there are, and what anything else is answered."""

import pytest

from manager.mock_provider.errors import ProviderError
from manager.mock_provider.routes import ANTHROPIC, OPENAI, dialect_of, find, takes_uploads


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/gpt-4o"),
        ("GET", "/v1/models/meta-llama/Llama-3"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/files"),
        ("POST", "/v1/uploads/u/parts"),
        ("GET", "/v1/files/f/content"),
    ],
)
def test_the_apis_are_found(method: str, path: str) -> None:
    assert find(method, path).method == method


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/models/",
        "/v1/files//content",
        "/v1/uploads/a/b/parts",
        "/v1/chat",
        "/v1/chat/completions/",
        "/v2/models",
    ],
)
def test_any_other_path_is_unknown(path: str) -> None:
    with pytest.raises(ProviderError) as refused:
        find("GET", path)

    assert (refused.value.status, refused.value.message) == (404, f"Invalid URL (GET {path})")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", b"POST"),
        ("DELETE", "/v1/models/gpt-4o", b"GET"),
        ("HEAD", "/v1/completions", b"POST"),
        ("POST", "/v1/files/f/content", b"GET"),
    ],
)
def test_the_wrong_method_is_told_the_right_one(method: str, path: str, allowed: bytes) -> None:
    with pytest.raises(ProviderError) as refused:
        find(method, path)

    assert (refused.value.status, refused.value.headers) == (405, ((b"allow", allowed),))


def test_head_goes_where_get_goes() -> None:
    assert find("HEAD", "/v1/models") is find("GET", "/v1/models")


@pytest.mark.parametrize(
    ("method", "path", "uploads"),
    [
        ("POST", "/v1/files", True),
        ("POST", "/v1/uploads/u/parts", True),
        ("GET", "/v1/files", False),
        ("POST", "/v1/chat/completions", False),
        ("POST", "/nowhere", False),
    ],
)
def test_only_uploads_are_of_any_size(method: str, path: str, uploads: bool) -> None:
    assert takes_uploads(method, path) is uploads


def test_only_the_messages_api_speaks_anthropic() -> None:
    assert dialect_of("/v1/messages") is ANTHROPIC
    assert dialect_of("/v1/models") is dialect_of("/nowhere") is OPENAI
