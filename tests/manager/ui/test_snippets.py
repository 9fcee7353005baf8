"""Rules of snippets: they can be pasted and run, speak the provider's way, and nothing breaks out of its quotes."""

import ast
import json
import shlex
from collections.abc import Mapping, Sequence

import pytest

from manager.ui import snippets
from shared import providers
from shared.providers import Provider

URL = "https://llm.example.org"
SECRET = "sk-llmp-0123456789"  # noqa: S105 - made up
KNOWN = providers.load().providers


def shown(provider: Provider = KNOWN["openai"], model: str = "gpt-5-mini", url: str = URL) -> Mapping[str, str]:
    return {each.label: each.text for each in snippets.of(provider, url, SECRET, model)}


def parsed(table: str) -> Provider:
    [found] = providers.parse(table, "test").providers.values()
    return found


def test_each_provider_has_its_own_libraries() -> None:
    assert list(shown()) == ["Python", "Node", "curl", "LangChain"]
    assert "from openai import OpenAI" in shown()["Python"] and 'import OpenAI from "openai"' in shown()["Node"]
    anthropic = shown(KNOWN["anthropic"])
    assert list(anthropic) == ["Python", "Node", "curl", "LangChain"]
    assert "from anthropic import Anthropic" in anthropic["Python"] and "ChatAnthropic" in anthropic["LangChain"]


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_every_snippet_has_the_secret_and_the_address(name: str) -> None:
    for text in shown(KNOWN[name]).values():
        assert text.count(SECRET) == 1 and text.count(URL) == 1


def test_openai_clients_are_given_the_version_and_anthropic_ones_are_not() -> None:
    assert f'base_url="{URL}/v1"' in shown()["Python"]
    assert f'base_url="{URL}",' in shown(KNOWN["anthropic"])["Python"]


@pytest.mark.parametrize(
    ("name", "path", "header"),
    [
        ("openai", "/v1/chat/completions", f"Authorization: Bearer {SECRET}"),
        ("anthropic", "/v1/messages", f"X-Api-Key: {SECRET}"),
    ],
)
def test_curl_sends_the_token_in_the_provider_s_own_header(name: str, path: str, header: str) -> None:
    words = shlex.split(shown(KNOWN[name])["curl"].replace("\\\n", ""))

    assert words[:2] == ["curl", URL + path] and header in words
    assert json.loads(words[-1])["model"] == "gpt-5-mini"


@pytest.mark.parametrize("name", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "model", ["gpt-5-mini", "it's", 'a "quoted" one\\', "modèle 🦊", "$(reboot) `ls`", "</script>"]
)
def test_no_model_breaks_out_of_its_quotes(name: str, model: str) -> None:
    found = shown(KNOWN[name], model)

    for label in ("Python", "LangChain"):
        constants = [node.value for node in ast.walk(ast.parse(found[label])) if isinstance(node, ast.Constant)]
        assert model in constants
    assert f"model: {json.dumps(model, ensure_ascii=False)}" in found["Node"]
    assert json.loads(shlex.split(found["curl"].replace(" \\\n", " "))[-1])["model"] == model


def test_a_provider_with_other_paths_is_called_there() -> None:
    provider = parsed("""
        [providers.acme]
        base_url = "https://acme.example.org"
        dialect = "openai"
        credential = { header = "X-Acme-Key", scheme = "" }
        routes = [{ name = "chat", path = "/openai/v2/chat/completions", methods = ["POST"] }]
    """)

    found = shown(provider)

    assert f'base_url="{URL}/openai/v2"' in found["Python"]
    assert f"{URL}/openai/v2/chat/completions" in found["curl"] and f"X-Acme-Key: {SECRET}" in found["curl"]


@pytest.mark.parametrize("dialect", ["openai", "opaque"])
def test_a_provider_of_another_kind_is_shown_by_curl_alone(dialect: str) -> None:
    provider = parsed(f"""
        [providers.voices]
        base_url = "https://voices.example.org"
        dialect = "{dialect}"
        credential = {{ header = "authorization", scheme = "Token" }}
        routes = [
            {{ name = "voices.one", path = "/voices/{{voice_id}}", methods = ["GET"] }},
            {{ name = "voices", path = "/voices", methods = ["GET"] }},
        ]
    """)

    [(label, text)] = shown(provider).items()

    assert label == "curl"
    words = shlex.split(text.replace("\\\n", ""))
    assert words == ["curl", f"{URL}/voices", "-H", f"Authorization: Token {SECRET}"]


@pytest.mark.parametrize(
    ("allowed", "model"),
    [
        ([], "gpt-4.1-mini"),
        ([()], "gpt-4.1-mini"),
        ([("gpt-5*", "o4-mini"), ()], "o4-mini"),
        ([(), ["gpt-5"]], "gpt-5"),
        ([("gpt-?",)], "gpt-4.1-mini"),
    ],
    ids=str,
)
def test_the_model_is_one_that_may_be_asked_for(allowed: list[Sequence[str]], model: str) -> None:
    assert snippets.model_for(KNOWN["openai"], allowed) == model
    assert snippets.model_for(KNOWN["anthropic"], [()]).startswith("claude-")
