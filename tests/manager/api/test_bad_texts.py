"""What no database, nor Redis, nor an answer can hold is refused wherever a text is taken."""

from typing import Any

import pytest

from manager.tables import Project, Token, UpstreamKey
from tests.manager.api.conftest import PROVIDER_KEY, Api, faulty
from tests.manager.conftest import Rows

BAD = ["\ud800", "a\udfffb", "a\0b"]


@pytest.mark.parametrize("text", BAD, ids=ascii)
@pytest.mark.parametrize(
    ("part", "shape"),
    [
        ("allowed_models", lambda text: [text]),
        ("denied_models", lambda text: [text]),
        ("denied_parameters", lambda text: [text]),
        ("max_values", lambda text: {text: 1}),
    ],
    ids=["allowed", "denied", "parameters", "caps"],
)
def test_in_a_policy(api: Api, rows: Rows, part: str, shape: Any, text: str) -> None:
    project = api.project()
    token = api.token(project["id"])
    policy = {part: shape(text)}

    for answer in (
        api.patch(f"tokens/{token['id']}", policy=policy),
        api.patch(f"projects/{project['id']}", policy=policy),
        api.put(f"projects/{project['id']}", name="search team", policy=policy),
        api.post("projects", name="b", api_key=PROVIDER_KEY, policy=policy),
        api.post("tokens", project_id=project["id"], expires_in=60, policy=policy),
        api.post("tokens/batch", project_id=project["id"], expires_in=60, count=2, policy=policy),
    ):
        assert faulty(answer) == ["policy"]
    assert [project.version for project in rows.all(Project)] == [1] == [kept.version for kept in rows.all(Token)]


@pytest.mark.parametrize("text", BAD, ids=ascii)
@pytest.mark.parametrize(
    "field",
    ["name", "api_key", "provider", "base_url", "fallback_urls", "cors_origins", "features"],
)
def test_in_a_project(api: Api, rows: Rows, field: str, text: str) -> None:
    url = f"https://{text}.example.org"
    value = {"base_url": url, "fallback_urls": [url], "cors_origins": [url], "features": {text: True}}.get(field, text)
    body = {"name": "b", "api_key": PROVIDER_KEY, field: value}

    assert faulty(api.post("projects", **body)) == [field] and rows.all(Project) == []

    project_id = api.project()["id"]
    if field != "provider":
        assert faulty(api.patch(f"projects/{project_id}", **{field: value})) == [field]


@pytest.mark.parametrize("text", BAD, ids=ascii)
def test_in_keys_tokens_prices_operators_and_filters(api: Api, rows: Rows, text: str) -> None:
    project = api.project()
    token, keys = api.token(project["id"]), f"projects/{project['id']}/keys"
    price = {"provider": "openai", "model": "gpt-5", "prompt": "1.25"}

    for answer, fields in (
        (api.post(keys, api_key=PROVIDER_KEY, label=text), ["label"]),
        (api.post(keys, api_key=f"sk-proj-{text}0123"), ["api_key"]),
        (api.patch(f"{keys}/{project['keys'][0]['id']}", label=text), ["label"]),
        (api.patch(f"tokens/{token['id']}", label=text), ["label"]),
        (api.post("tokens", project_id=project["id"], expires_in=60, label=text), ["label"]),
        (api.post("tokens/batch", project_id=project["id"], expires_in=60, labels=[text]), ["label"]),
        (api.post("tokens/revoke", label_prefix=text), ["label_prefix"]),
        (api.put("prices", **{**price, "model": text}), ["model"]),
        (api.put("prices", **{**price, "provider": text}), ["provider"]),
        (api.put("prices", **{**price, "prompt": text}), ["prompt"]),
        (api.post("operators", name=text, role="auditor"), ["name"]),
        (api.post("projects", **{"name": "b", "api_key": PROVIDER_KEY, text: 1}), [text]),
    ):
        assert faulty(answer) == fields
    assert (len(rows.all(UpstreamKey)), len(rows.all(Token))) == (1, 1)
