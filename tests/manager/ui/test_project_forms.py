"""Rules of the forms that make and change projects: the API's rules at their fields, and nothing typed is lost."""

from typing import Any

import pytest
import redis

from manager.tables import AuditEvent, Project
from tests.manager.api.conftest import Api, Published
from tests.manager.conftest import NOBODY, Rows, Serve, one_database
from tests.manager.ui.conftest import Browse, Browser, Seen

pytestmark = one_database
NEW = "/ui/projects/new"
KEY = "sk-proj-a-canary-that-nobody-may-see-77"
FIRST_LIMIT = {"limits-0-measure": "cost", "limits-0-window": "month", "limits-0-amount": "500.00"}


def made(api: Api) -> dict[str, Any]:
    """The only project that there is."""
    [found] = api.get("projects").json["items"]
    return dict(found)


# New


def test_a_project_is_made_of_a_name_and_a_key(browse: Browse, api: Api, published: Published) -> None:
    browser = browse("operator")

    answer = browser.submit(NEW, name="  search team ", api_key=KEY)

    project = made(api)
    assert answer.goes_to == f"/ui/projects/{project['id']}"
    assert (project["name"], project["provider"], len(project["keys"])) == ("search team", "openai", 1)
    assert published.project(project["id"]) is not None
    assert "The project was created." in browser.follow(answer).text


def test_everything_can_be_set_from_the_start(browse: Browse, api: Api) -> None:
    sent = {
        "name": "search team",
        "provider": "anthropic",
        "api_key": KEY,
        "base_url": "https://eu.example.org/",
        "fallback_urls": "https://one.example.org\r\n\r\n  https://two.example.org  ",
        "policy.allowed_models": "claude-*\r\n",
        "policy.denied_models": "*-preview",
        "policy.denied_parameters": "tools",
        "policy.max_values": "max_tokens = 4096\r\ntemperature=1.5",
        "cors_origins": "https://app.example.org",
        "features.retries": "false",
        "features.breaker": "true",
        "limits-1-measure": "requests",
        "limits-1-window": "minute",
        "limits-1-amount": "60",
        "limits-1-burst": "5",
        "limits-1-on_outage": "open",
    }

    browse("admin").submit(NEW, **(FIRST_LIMIT | sent))

    project = made(api)
    assert (project["provider"], project["base_url"]) == ("anthropic", "https://eu.example.org")
    assert project["fallback_urls"] == ["https://one.example.org", "https://two.example.org"]
    assert project["policy"] == {
        "allowed_models": ["claude-*"],
        "denied_models": ["*-preview"],
        "denied_parameters": ["tools"],
        "max_values": {"max_tokens": 4096, "temperature": 1.5},
    }
    assert project["cors_origins"] == ["https://app.example.org"]
    assert project["features"] == {"retries": False, "breaker": True}
    assert [(limit["measure"], limit["amount"], limit["burst"]) for limit in project["limits"]] == [
        ("cost", "500.00", None),
        ("requests", 60, 5),
    ]


BAD: list[tuple[dict[str, str], str]] = [
    ({"name": ""}, "name"),
    ({"name": "x" * 201}, "name"),
    ({"name": "a\0b"}, "name"),
    ({"name": "\u200b"}, "name"),
    ({"api_key": ""}, "api_key"),
    ({"api_key": "short"}, "api_key"),
    ({"api_key": "x" * 4097}, "api_key"),
    ({"api_key": "sk-proj-with a space in it"}, "api_key"),
    ({"api_key": "sk-proj-****-masked-key"}, "api_key"),
    ({"api_key": "sk-llmp-0123456789abcdef"}, "api_key"),
    ({"api_key": "schlüssel-mit-umlaut-0123"}, "api_key"),
    ({"provider": ""}, "provider"),
    ({"provider": "nobody"}, "provider"),
    ({"base_url": "not a url"}, "base_url"),
    ({"base_url": "http://example.org"}, "base_url"),
    ({"base_url": "https://169.254.169.254"}, "base_url"),
    ({"fallback_urls": "ftp://example.org"}, "fallback_urls"),
    ({"fallback_urls": "https://a.example.org\nhttps://a.example.org"}, "fallback_urls"),
    ({"fallback_urls": "https://api.openai.com"}, "fallback_urls"),
    ({"policy.allowed_models": "x" * 201}, "policy-allowed_models"),
    ({"policy.denied_models": "\n".join(f"model-{n}" for n in range(101))}, "policy-denied_models"),
    ({"policy.denied_parameters": "x" * 101}, "policy-denied_parameters"),
    ({"policy.max_values": "max_tokens = many"}, "policy-max_values"),
    ({"policy.max_values": "max_tokens"}, "policy-max_values"),
    ({"policy.max_values": "max_tokens = -1"}, "policy-max_values"),
    ({"policy.max_values": "max_tokens = inf"}, "policy-max_values"),
    ({"cors_origins": "https://app.example.org/path"}, "cors_origins"),
    ({"cors_origins": "*"}, "cors_origins"),
    ({"features.retries": "perhaps"}, "features-retries"),
    ({"limits-0-amount": "0"}, "limits"),
    ({"limits-0-amount": "much"}, "limits"),
    ({"limits-0-amount": ""}, "limits"),
    ({"limits-0-window": ""}, "limits"),
    ({"limits-0-window": "second"}, "limits"),
    ({"limits-0-window": "year"}, "limits"),
    ({"limits-0-measure": "weight"}, "limits"),
    ({"limits-0-measure": ""}, "limits"),
    ({"limits-0-burst": "5"}, "limits"),
    ({"limits-0-on_outage": "panic"}, "limits"),
    ({"limits-1-measure": "cost", "limits-1-window": "month", "limits-1-amount": "1"}, "limits"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "field"), BAD, ids=[f"{number}-{each[1]}" for number, each in enumerate(BAD)])
def test_what_the_api_refuses_is_said_at_its_field(browse: Browse, api: Api, bad: dict[str, str], field: str) -> None:
    good = {"name": "kept name", "api_key": KEY, "cors_origins": "https://kept.example.org", **FIRST_LIMIT}

    page = browse("admin").submit(NEW, **(good | bad))

    assert list(page.errors()) == [field] and page.errors()[field]
    assert api.get("projects").json["items"] == []
    assert_is_kept(page, good | bad)


def assert_is_kept(page: Seen, sent: dict[str, str]) -> None:
    """All that was sent stands in the form again, but for the secret."""
    assert KEY not in page.answer.text and page.one("#field-api_key")["value"] == ""
    for name, value in sent.items():
        if name == "api_key" or not value or "\0" in value:
            continue
        [control] = page.all(f'main form [name="{name}"]')
        if control.name == "textarea":
            assert control.get_text().removeprefix("\n") == value
        elif control.name == "input":
            assert control["value"] == value
        elif known := [str(option["value"]) for option in control.select("option")]:
            chosen = [str(option["value"]) for option in control.select("option[selected]")]
            assert chosen == ([value] if value in known else [])


def test_a_fault_that_is_folded_away_is_opened(browse: Browse) -> None:
    page = browse("admin").submit(NEW, name="search team", api_key=KEY, cors_origins="*")

    opened = [details.select_one("summary").get_text() for details in page.all("details[open]")]  # type: ignore[union-attr]
    assert opened == ["Browsers"]
    assert not browse(None).get(NEW).status == 200
    control = page.one("#field-cors_origins")
    assert (control["aria-invalid"], "field-cors_origins-error" in control["aria-describedby"]) == ("true", True)


def test_a_name_that_is_taken_is_said(browse: Browse, api: Api) -> None:
    api.project("search team")

    page = browse("operator").submit(NEW, name="search team", api_key=KEY)

    assert page.errors() == {"": "There is a project of this name already."}
    assert page.one("#field-name")["value"] == "search team" and KEY not in page.answer.text


def test_sent_twice_makes_one(browse: Browse, rows: Rows) -> None:
    browser = browse("operator")
    form = browser.get(NEW)

    first = browser.submit(form, name="search team", api_key=KEY)
    second = browser.submit(form, name="search team", api_key=KEY)
    other = browser.submit(form, name="find team", api_key=KEY)

    assert first.goes_to == second.goes_to != other.goes_to
    assert [row.name for row in rows.all(Project)] == ["search team", "find team"]


def test_a_form_that_says_nothing_of_once_is_taken(browse: Browse, rows: Rows) -> None:
    browser = browse("operator")

    for value in ("", "x", "!" * 20, "x" * 5000):
        browser.post(NEW, name=f"team {len(value)}", provider="openai", api_key=KEY, once=value)

    assert len(rows.all(Project)) == 4


def test_the_first_key_is_found_nowhere(browse: Browse, rows: Rows, api: Api, redis_client: redis.Redis) -> None:
    browser = browse("operator")
    page = browser.submit(NEW, name="x" * 300, api_key=KEY)
    assert KEY not in page.answer.text

    answer = browser.submit(page, name="search team", api_key=KEY)

    pages = [answer.answer.text, str(answer.answer.headers), browser.follow(answer).answer.text]
    events = [str(event.detail) for event in rows.all(AuditEvent)]
    assert not [text for text in (*pages, *events) if KEY in text]


def test_only_admins_say_where_keys_go(browse: Browse, api: Api) -> None:
    operator = browse("operator")
    form = operator.get(NEW)

    assert not form.all("[name=base_url], [name=fallback_urls]")
    for name in ("base_url", "fallback_urls"):
        fields = {"name": "x", "provider": "openai", "api_key": KEY, name: "https://example.org"}
        assert operator.post(NEW, **fields).status == 403
    assert api.get("projects").json["items"] == []
    assert browse("admin").get(NEW).all("[name=base_url]")


def test_an_auditor_makes_nothing(browse: Browse, api: Api) -> None:
    auditor = browse("auditor")
    project = api.project()

    assert auditor.get(NEW).status == 403
    assert auditor.post(NEW, name="x", provider="openai", api_key=KEY).status == 403
    assert auditor.get(f"/ui/projects/{project['id']}/edit").status == 403
    assert auditor.post(f"/ui/projects/{project['id']}/edit", name="x").status == 403


def test_a_form_from_elsewhere_is_refused(browse: Browse, api: Api) -> None:
    fields = {"name": "x", "provider": "openai", "api_key": KEY}

    assert browse("operator").open("POST", NEW, data=fields).status == 400
    assert api.get("projects").json["items"] == []


# Changes


def edit(project: dict[str, Any]) -> str:
    return f"/ui/projects/{project['id']}/edit"


def test_a_form_shows_what_there_is_and_changes_nothing_by_itself(browse: Browse, api: Api, rows: Rows) -> None:
    settings = {
        "policy": {"allowed_models": ["gpt-4o*"], "max_values": {"max_tokens": 4096, "temperature": 0.5}},
        "limits": [{"measure": "requests", "window": "minute", "amount": 60, "burst": 5, "on_outage": "open"}],
        "features": {"retries": False},
        "base_url": "https://eu.example.org",
        "cors_origins": ["https://app.example.org"],
    }
    project = api.project(**settings)
    browser = browse("admin")

    answer = browser.submit(edit(project))

    assert "There was nothing to change." in browser.follow(answer).text
    [row] = rows.all(Project)
    assert row.version == 1 and "project.update" not in {event.action for event in rows.all(AuditEvent)}


def test_what_differs_is_changed_and_nothing_else(browse: Browse, api: Api, rows: Rows) -> None:
    project = api.project(policy={"allowed_models": ["gpt-4o*"]}, features={"retries": False}, limits=[])
    browser = browse("operator")

    answer = browser.submit(edit(project), **{"policy.allowed_models": "", "features.retries": "", **FIRST_LIMIT})

    assert answer.goes_to == f"/ui/projects/{project['id']}"
    now = made(api)
    assert now["policy"]["allowed_models"] == [] and now["features"] == {} and len(now["limits"]) == 1
    assert now["name"] == project["name"]
    [event] = [event for event in rows.all(AuditEvent) if event.action == "project.update"]
    assert sorted(event.detail["after"]) == ["features", "policy"]


def test_a_base_url_can_be_taken_back(browse: Browse, api: Api) -> None:
    project = api.project(base_url="https://eu.example.org", fallback_urls=["https://us.example.org"])

    browse("admin").submit(edit(project), base_url="", fallback_urls="")

    assert (made(api)["base_url"], made(api)["fallback_urls"]) == ("", [])


def test_an_operator_keeps_what_only_admins_change(browse: Browse, api: Api) -> None:
    project = api.project(base_url="https://eu.example.org")
    operator = browse("operator")

    assert not operator.get(edit(project)).all("[name=base_url]")
    operator.submit(edit(project), name="renamed")
    assert (made(api)["name"], made(api)["base_url"]) == ("renamed", "https://eu.example.org")
    assert operator.post(edit(project), name="again", base_url="").status == 403


@pytest.mark.parametrize(
    ("bad", "field"),
    [each for each in BAD if not {"api_key", "provider"} & set(each[0])],
    ids=[f"{number}-{each[1]}" for number, each in enumerate(BAD) if not {"api_key", "provider"} & set(each[0])],
)
def test_a_bad_change_is_said_at_its_field(browse: Browse, api: Api, bad: dict[str, str], field: str) -> None:
    project = api.project()
    page = browse("admin").submit(edit(project), **(FIRST_LIMIT | {"cors_origins": "https://kept.example.org"} | bad))

    assert list(page.errors()) == [field]
    assert made(api)["limits"] == [] and made(api)["name"] == project["name"]
    if "cors_origins" not in bad:
        assert page.one("#field-cors_origins").get_text().strip() == "https://kept.example.org"


def test_what_was_changed_meanwhile_is_shown_beside(browse: Browse, api: Api) -> None:
    project = api.project(cors_origins=["https://one.example.org"])
    browser = browse("admin")
    form = browser.get(edit(project))
    api.patch(f"projects/{project['id']}", name="their name", limits=[{"measure": "concurrent", "amount": 4}])

    page = browser.submit(form, name="my name", cors_origins="https://mine.example.org", **FIRST_LIMIT)

    assert page.status == 412 and "has been changed since" in page.text
    assert page.one("#field-name")["value"] == "my name"
    assert page.texts("#field-name-present") == ["Now it is their name"]
    assert page.texts("#field-cors_origins-present") == ["Now it is https://one.example.org"]
    assert page.texts("#field-limits-present") == ["Now it is concurrent life 4 closed"]
    assert made(api)["name"] == "their name"

    assert browser.submit(page).status == 303
    assert made(api)["name"] == "my name" and made(api)["cors_origins"] == ["https://mine.example.org"]


def test_a_form_that_does_not_say_what_it_is_for_is_stale(browse: Browse, api: Api) -> None:
    project = api.project()
    browser = browse("operator")

    for state in (None, "", '"', "x" * 5000):
        assert browser.submit(edit(project), name="new name", state=state).status == 412
    assert made(api)["name"] == project["name"]


def test_a_change_is_kept_while_redis_is_away(serve: Serve, database_url: str, api: Api) -> None:
    project = api.project()
    bearer = api.operator("operator").bearer
    lonely = Browser(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY).test_client())
    lonely.sign_in(bearer)

    changed = lonely.follow(lonely.submit(edit(project), name="renamed"))
    created = lonely.follow(lonely.submit(NEW, name="another", api_key=KEY))

    assert made_names(api) == ["another", "renamed"]
    told = "The project was changed. It will reach the proxy as soon as Redis is back."
    assert changed.texts(".messages .alert-warning") == [told]
    assert "reaches the proxy as soon as Redis is back" in created.text


def made_names(api: Api) -> list[str]:
    return sorted(project["name"] for project in api.get("projects").json["items"])


def test_fields_say_the_rules_before_anything_is_sent(browse: Browse) -> None:
    page = browse("admin").get(NEW)

    name, key = page.one("#field-name"), page.one("#field-api_key")
    assert (name["maxlength"], name.has_attr("required")) == ("200", True)
    assert (key["type"], key["minlength"], key["maxlength"], key["autocomplete"]) == ("password", "8", "4096", "off")
    assert [str(option["value"]) for option in page.all("#field-provider option")] == ["anthropic", "openai"]
    assert not page.all("[style]") and not page.all("script:not([src])")


def test_what_is_recorded_can_be_chosen(browse: Browse, api: Api) -> None:
    project = api.project("search")
    chosen = {"inspection.capture": "full", "inspection.hidden": "emails", "inspection.json_paths": "user\n**.mail"}

    after = browse().submit(f"/ui/projects/{project['id']}/edit", **chosen)
    wrong = browse().submit(f"/ui/projects/{project['id']}/edit", **{"inspection.patterns": "(?=x)"})

    assert after.status == 303
    shown = api.get(f"projects/{project['id']}").json["inspection"]
    assert (shown["capture"], shown["hidden"], shown["json_paths"]) == ("full", ["emails"], ["user", "**.mail"])
    assert shown["max_body_bytes"] == 65536
    assert wrong.status == 422 and "RE2" in wrong.text
