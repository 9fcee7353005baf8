"""Rules of /manage/providers: the loaded table, as it is."""

import pytest

from shared import providers
from tests.manager.api.conftest import Api, problem
from tests.manager.conftest import one_database

pytestmark = one_database


def test_every_provider_and_route_of_the_table_is_shown(api: Api) -> None:
    table, shown = providers.load().providers, api.get("providers").json["items"]

    assert [provider["name"] for provider in shown] == sorted(table)
    for provider in shown:
        assert [route["path"] for route in provider["routes"]] == [r.path for r in table[provider["name"]].routes]


def test_one_provider_is_shown_as_in_the_list(api: Api) -> None:
    [openai] = [provider for provider in api.get("providers").json["items"] if provider["name"] == "openai"]

    assert api.get("providers/openai").json == openai
    assert (openai["credential_header"], openai["credential_scheme"]) == ("authorization", "Bearer")
    [chat] = [route for route in openai["routes"] if route["name"] == "chat.completions"]
    assert (chat["path"], chat["methods"], chat["body"]) == ("/v1/chat/completions", ["GET", "POST"], "json")
    assert {"connect", "first_byte", "idle", "total"} == set(chat["timeouts"])


@pytest.mark.parametrize("name", ["nobody", "%00", "OPENAI"])
def test_another_provider_is_not_there(api: Api, name: str) -> None:
    assert problem(api.get(f"providers/{name}")) == (404, "not_found")
