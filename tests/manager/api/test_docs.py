"""The reference names every operation of the API, and no other."""

import re
from pathlib import Path

from manager.api.audit import AuditQuery
from manager.audit import Action
from tests.manager.api.conftest import Api
from tests.manager.conftest import one_database

TEXT = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
OPERATION = re.compile(r"^### `(GET|POST|PATCH|PUT|DELETE) /manage/([^ `]+)`$", re.MULTILINE)


@one_database
def test_every_operation_is_in_the_reference(api: Api) -> None:
    described = api.get("openapi.json").json["paths"]
    operations = {
        (method.upper(), path) for path, methods in described.items() for method in methods if method.islower()
    }

    named = {(method, f"/manage/{path}") for method, path in OPERATION.findall(TEXT)}
    assert named == {
        (method, path) for method, path in operations if method in ("GET", "POST", "PATCH", "PUT", "DELETE")
    }


def test_every_action_and_filter_of_the_audit_is_in_the_reference() -> None:
    wanted = {*Action, *(field.data_key or name for name, field in AuditQuery().fields.items())}

    assert {word for word in wanted if f"`{word}`" not in TEXT} == set()
