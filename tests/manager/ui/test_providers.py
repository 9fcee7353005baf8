"""Rules of the pages about providers: the table that was loaded is shown as it is, to everybody who is signed in."""

from pathlib import Path

import pytest
import redis

from shared import providers
from tests.manager.api.conftest import Api
from tests.manager.conftest import Serve, one_database
from tests.manager.ui.conftest import Browse, Browser
from tests.manager.ui.nasty import is_harmless

pytestmark = one_database
TABLE = """
[providers.acme]
base_url = "https://api.acme.example"
dialect = "openai"
credential = {header = "x-acme-key", scheme = ""}
features = {retries = false}
max_body_bytes = 1000

[[providers.acme.routes]]
name = "draw"
path = "/draw/{style}"
methods = ["POST"]
required = ["prompt"]
timeouts = {first_byte = 1.5, idle = 0}
retry = {attempts = 1}
costs = false
"""


def test_all_are_listed(browse: Browse) -> None:
    page = browse("auditor").get("/ui/providers")

    known = providers.load().providers
    assert page.texts("tbody th") == sorted(known)
    openai = page.texts("tbody tr")[sorted(known).index("openai")]
    assert f"https://api.openai.com authorization: Bearer … openai {len(known['openai'].routes)}" in openai
    assert "comes with the product" in page.text


@pytest.mark.parametrize("name", providers.load().providers)
def test_one_is_shown_with_all_its_routes(browse: Browse, name: str) -> None:
    page = browse("auditor").get(f"/ui/providers/{name}")

    assert page.status == 200 and is_harmless(page)
    assert page.texts("tbody th code") == [route.path for route in providers.load().providers[name].routes]


def test_a_table_of_ones_own_is_shown_as_it_is(
    serve: Serve, database_url: str, valkey_url: str, redis_client: redis.Redis, api: Api, tmp_path: Path
) -> None:
    (tmp_path / "providers.toml").write_text(TABLE)
    own = {"LLM_PROXY_PROVIDERS_FILE": str(tmp_path / "providers.toml")}
    browser = Browser(serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, **own).test_client())
    browser.sign_in(api.operator("auditor").bearer)

    listed, page = browser.get("/ui/providers"), browser.get("/ui/providers/acme")

    assert "x-acme-key: …" in listed.text and "your own table" in listed.text
    facts = dict(zip(page.texts("dl dt"), page.texts("dl dd"), strict=True))
    assert (facts["Retries"], facts["Breaker"]) == ("off", "on")
    [row] = page.texts("tbody tr")
    assert row == "/draw/{style} draw POST json, up to 1.0 kB with prompt 1 10, 1.5, any, any costs nothing"


@pytest.mark.parametrize("name", ["acme", "%00", "%3Cscript%3E"])
def test_one_that_is_not_there_is_not_found(browse: Browse, name: str) -> None:
    page = browse().get(f"/ui/providers/{name}")

    assert page.status == 404 and is_harmless(page)


def test_who_sees_some_projects_sees_the_table_too(browse: Browse, api: Api) -> None:
    browser = browse("operator", project_ids=[api.project()["id"]])

    assert (browser.get("/ui/providers").status, browser.get("/ui/providers/openai").status) == (200, 200)
