"""Code that calls a provider through the proxy with a new token, ready to be pasted."""

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.providers import Provider, Route

# What an example asks for where nothing says which models are allowed.
_MODELS = {"openai": "gpt-4.1-mini", "anthropic": "claude-sonnet-4-5"}
_CHAT, _MESSAGES = "/chat/completions", "/v1/messages"
_QUESTION = "Say hello."


@dataclass(frozen=True)
class Snippet:
    """An example, and what it is for."""

    label: str
    text: str


@dataclass(frozen=True)
class _Call:
    """What an example is made of; `base` is what a library is given, `path` goes on from the proxy's address."""

    provider: Provider
    url: str
    base: str
    path: str
    secret: str
    model: str


def of(provider: Provider, url: str, secret: str, model: str) -> Sequence[Snippet]:
    """Return examples for a provider: `url` is the proxy's, without a slash at its end."""
    for dialect, end, examples in (("openai", _CHAT, _openai), ("anthropic", _MESSAGES, _anthropic)):
        path = next((route.path for route in provider.routes if route.path.endswith(end)), "")
        if provider.dialect == dialect and path:
            return examples(_Call(provider, url, url + path.removesuffix(end), path, secret, model))
    return [Snippet("curl", _plain_curl(provider, url, secret))]


def model_for(provider: Provider, allowed: Iterable[Sequence[str]]) -> str:
    """Return a model that may be asked for, as far as these lists of allowed ones, which are globs, name one."""
    named = (model for models in allowed for model in models if not set(model) & set("*?"))
    return next(named, _MODELS.get(provider.dialect, ""))


def _openai(call: _Call) -> Sequence[Snippet]:
    base, key, model, question = map(_quoted, (call.base, call.secret, call.model, _QUESTION))
    python = f"""\
from openai import OpenAI

client = OpenAI(
    base_url={base},
    api_key={key},
)
answer = client.chat.completions.create(
    model={model},
    messages=[{{"role": "user", "content": {question}}}],
)
print(answer.choices[0].message.content)
"""
    node = f"""\
import OpenAI from "openai";

const client = new OpenAI({{
  baseURL: {base},
  apiKey: {key},
}});
const answer = await client.chat.completions.create({{
  model: {model},
  messages: [{{ role: "user", content: {question} }}],
}});
console.log(answer.choices[0].message.content);
"""
    langchain = f"""\
from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    base_url={base},
    api_key={key},
    model={model},
)
print(model.invoke({question}).content)
"""
    return _four(python, node, _curl(call), langchain)


def _anthropic(call: _Call) -> Sequence[Snippet]:
    base, key, model, question = map(_quoted, (call.base, call.secret, call.model, _QUESTION))
    python = f"""\
from anthropic import Anthropic

client = Anthropic(
    base_url={base},
    api_key={key},
)
answer = client.messages.create(
    model={model},
    max_tokens=100,
    messages=[{{"role": "user", "content": {question}}}],
)
print(answer.content[0].text)
"""
    node = f"""\
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({{
  baseURL: {base},
  apiKey: {key},
}});
const answer = await client.messages.create({{
  model: {model},
  max_tokens: 100,
  messages: [{{ role: "user", content: {question} }}],
}});
console.log(answer.content[0].text);
"""
    langchain = f"""\
from langchain_anthropic import ChatAnthropic

model = ChatAnthropic(
    base_url={base},
    api_key={key},
    model={model},
)
print(model.invoke({question}).content)
"""
    return _four(python, node, _curl(call, {"max_tokens": 100}, "anthropic-version: 2023-06-01"), langchain)


def _four(python: str, node: str, curl: str, langchain: str) -> Sequence[Snippet]:
    return [Snippet("Python", python), Snippet("Node", node), Snippet("curl", curl), Snippet("LangChain", langchain)]


def _curl(call: _Call, more: dict[str, int] | None = None, *headers: str) -> str:
    messages = [{"role": "user", "content": _QUESTION}]
    body = json.dumps({"model": call.model, **(more or {}), "messages": messages}, ensure_ascii=False)
    sent = [_credential(call.provider, call.secret), *headers, "Content-Type: application/json"]
    return _lines(call.url + call.path, *(f"-H {shlex.quote(header)}" for header in sent), f"-d {shlex.quote(body)}")


def _plain_curl(provider: Provider, url: str, secret: str) -> str:
    route = min(provider.routes, key=_is_harder)
    method = "GET" if "GET" in route.methods else min(route.methods)
    named = [] if method == "GET" else [f"-X {method}"]
    return _lines(url + route.path, *named, f"-H {shlex.quote(_credential(provider, secret))}")


def _is_harder(route: Route) -> tuple[bool, bool]:
    return "{" in route.path, "GET" not in route.methods


def _credential(provider: Provider, secret: str) -> str:
    return f"{provider.credential.header.title()}: {provider.credential.value(secret)}"


def _lines(url: str, *options: str) -> str:
    return " \\\n  ".join([f"curl {shlex.quote(url)}", *options]) + "\n"


def _quoted(text: str) -> str:
    """Return a text as Python and JavaScript both read it."""
    return json.dumps(text, ensure_ascii=False)
