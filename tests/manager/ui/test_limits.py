"""Rules of the page of the limits of everything: auditors see them, admins change them, both of all projects only."""

from datetime import UTC, datetime

import pytest
import redis

from shared import limits_schema, redis_schema
from shared.models import Measure, Scope, Window
from tests.manager.api.conftest import Api
from tests.manager.conftest import NOBODY, Serve, one_database
from tests.manager.ui.conftest import Browse, Browser
from tests.shared.limit_scripts import counter

pytestmark = one_database
MONTH = {"measure": "cost", "window": "month", "amount": "500.00"}


def test_they_are_shown_with_what_is_used(browse: Browse, api: Api, redis_client: redis.Redis) -> None:
    api.put("limits", limits=[MONTH, {"measure": "concurrent", "amount": 1}])
    period = limits_schema.period_of(Window.MONTH, datetime.now(UTC))
    field = limits_schema.field_of(Measure.COST, Window.MONTH, "")
    redis_client.hset(redis_schema.used_key(Scope.GLOBAL), field, counter(125_000_000_000, period))

    page = browse("auditor").get("/ui/limits")

    assert page.texts("tbody tr") == ["$500.00 per month $125.00 25 % refuses", "1 request at a time 0 0 % refuses"]
    assert page.texts("nav [aria-current]") == ["Limits"] and not page.all("main a")


def test_an_admin_replaces_them(browse: Browse, api: Api) -> None:
    admin = browse("admin")
    assert admin.get("/ui/limits").one(".empty a")["href"] == "/ui/limits/edit"

    sent = {"limits-0-measure": "tokens", "limits-0-window": "day", "limits-0-amount": "1000000"}
    answer = admin.submit("/ui/limits/edit", **sent, **{"limits-0-on_outage": "local_share"})

    page = admin.follow(answer)
    assert page.texts("tbody tr th") == ["1,000,000 tokens per day"] and "The limits were changed." in page.text
    assert admin.follow(admin.submit("/ui/limits/edit")).texts(".messages .alert") == ["There was nothing to change."]
    admin.submit("/ui/limits/edit", **dict.fromkeys((f"limits-0-{part}" for part in ("measure", "amount")), ""))
    assert api.get("limits").json == {"limits": []}


@pytest.mark.parametrize(
    "bad",
    [
        {"limits-0-amount": "-1"},
        {"limits-0-amount": "12.3456789012"},
        {"limits-0-window": "minute"},
        {"limits-0-burst": "3"},
        {"limits-1-measure": "cost", "limits-1-window": "month", "limits-1-amount": "2"},
        {f"limits-{n}-measure": "concurrent" for n in range(1, 22)},
    ],
    ids=["negative", "decimals", "window", "burst", "twice", "many"],
)
def test_what_is_refused_is_said_at_the_limits(browse: Browse, api: Api, bad: dict[str, str]) -> None:
    sent = {"limits-0-measure": "cost", "limits-0-window": "month", "limits-0-amount": "500.00"} | bad

    page = browse("admin").submit("/ui/limits/edit", **sent)

    assert list(page.errors()) == ["limits"] and api.get("limits").json == {"limits": []}
    assert page.one("[name=limits-0-amount]")["value"] == sent["limits-0-amount"]


def test_what_was_changed_meanwhile_is_shown_beside(browse: Browse, api: Api) -> None:
    admin = browse("admin")
    form = admin.get("/ui/limits/edit")
    api.put("limits", limits=[MONTH])

    page = admin.submit(form, **{"limits-0-measure": "concurrent", "limits-0-amount": "9"})

    assert page.status == 412 and page.texts(".form-present") == ["Now it is cost month 500.00 closed"]
    assert admin.submit(page).status == 303 and api.get("limits").json["limits"][0]["amount"] == 9


def test_who_may_not_is_denied(browse: Browse, api: Api) -> None:
    operator, scoped = browse("operator"), browse("auditor", project_ids=[api.project()["id"]])

    assert operator.get("/ui/limits").status == 200 and not operator.get("/ui/limits").all("main a")
    assert [operator.get("/ui/limits/edit").status, operator.post("/ui/limits/edit").status] == [403, 403]
    assert scoped.get("/ui/limits").status == 403 and "Limits" not in scoped.get("/ui/projects").texts("nav li")


def test_they_are_stored_while_redis_is_away(serve: Serve, database_url: str, api: Api) -> None:
    lonely = Browser(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY).test_client())
    lonely.sign_in(api.operator("admin").bearer)

    answer = lonely.submit("/ui/limits/edit", **{"limits-0-measure": "concurrent", "limits-0-amount": "9"})

    page = lonely.follow(answer)
    assert (
        "as soon as Redis is back" in page.text and "not known" in page.text and len(api.get("limits").json["limits"])
    )
