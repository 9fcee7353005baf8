"""Rules of what nobody reads: a query or a body is refused where none is taken, so that no filter is passed over."""

from typing import Any

import pytest
from flask import Flask

from manager.tables import Token
from tests.manager.api.conftest import Api, faulty
from tests.manager.conftest import Rows, one_database

ID = "019a0000-0000-7000-8000-000000000001"


def test_a_filter_of_what_is_revoked_is_not_passed_over(api: Api, rows: Rows) -> None:
    project = api.project()
    api.token(project["id"], label="keep")
    path = f"projects/{project['id']}/tokens/revoke"

    assert faulty(api.post(path, label_prefix="drop")) == ["label_prefix"]
    assert faulty(api.send("POST", f"{path}?dry_run=true")) == ["dry_run"]
    assert faulty(api.send("POST", path, json=["keep"])) == ["_schema"]
    assert [token.revoked_at for token in rows.all(Token)] == [None]
    assert api.send("POST", path).json == {"revoked": 1}
    assert api.post(path).json == {"revoked": 0}


@one_database
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_whatever_the_view_a_query_that_it_does_not_know_is_refused(api: Api, app: Flask, method: str) -> None:
    paths = [
        rule.rule.removeprefix("/manage/")
        for rule in app.url_map.iter_rules()
        if method in (rule.methods or ()) and rule.rule.startswith("/manage/") and rule.endpoint.partition(".")[2]
    ]
    checked = [path for path in paths if not path.startswith(("docs", "openapi"))]

    assert len(checked) >= 2
    for path in checked:
        some = path
        for name in ("project", "token", "key", "price", "operator", "event", "rule"):
            some = some.replace(f"<uuid:{name}_id>", ID)
        answer = api.send(method, f"{some.replace('<', '').replace('>', '')}?nonsense=1", json=_body(method))
        assert faulty(answer) == ["nonsense"], (path, answer.text)


def _body(method: str) -> Any:
    return {} if method in ("POST", "PUT", "PATCH") else None


@one_database
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_nor_is_a_body_taken_where_none_belongs(api: Api, method: str) -> None:
    path = f"tokens/{api.token(api.project()['id'])['id']}"

    assert faulty(api.send(method, path, json={"dry_run": True})) == ["dry_run"]
    assert faulty(api.send(method, path, data=b"\xff[[")) == ["_schema"]
    assert api.get(path).json["state"] == "active"
