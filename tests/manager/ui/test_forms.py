"""Rules of forms: they say what the schema says, send what the API is sent, and show what is wrong where it is."""

from collections.abc import Iterator
from typing import Any

import marshmallow as ma
import pytest
from bs4 import BeautifulSoup, Tag
from flask import Flask, render_template_string
from werkzeug.datastructures import MultiDict

from manager.api.fields import Label, Moment, MostRequests, Name, ProviderKey, Truth, Whole
from manager.api.limits import limits_field
from manager.api.operators import NewOperator
from manager.api.project_shapes import NewProject
from manager.api.token_shapes import NewToken
from manager.errors import Conflict, Forbidden, Invalid
from manager.ui.forms import Blank, Choice, Field, Form, Kind, body_of, confirmed, handled
from shared.models import Scope
from tests.manager.conftest import one_database

pytestmark = [one_database, pytest.mark.usefixtures("database_url")]
PROJECT = (
    Field("name", "Name", help="As people call it."),
    Field("api_key", "Key", kind=Kind.PASSWORD),
    Field("provider", "Provider", kind=Kind.SELECT, choices=(Choice("openai", "OpenAI"), Choice("other", "Another"))),
    Field("base_url", "Base URL", blank=Blank.EMPTY),
    Field("policy.allowed_models", "Allowed models", kind=Kind.TAGS),
    Field("policy.max_values", "Caps", kind=Kind.PAIRS),
    Field("features.retries", "Retries", kind=Kind.SELECT, blank=Blank.NULL),
    Field("limits", "Limits", kind=Kind.LIMITS),
)
GOOD = {"name": "search team", "api_key": "sk-proj-the-real-provider-key", "provider": "openai"}
TEMPLATE = """{% from "forms.html" import field, form_page %}{% call form_page(form, "Save", "/ui/") %}
{% for name in form.fields %}{{ field(form, name) }}{% endfor %}{% endcall %}"""


class Every(ma.Schema):
    """A field of each kind."""

    text = Name(required=True)
    secret = ProviderKey()
    area = Label()
    number = MostRequests()
    share = ma.fields.Float(validate=ma.validate.Range(0, 1))
    choice = ma.fields.String(validate=ma.validate.OneOf(["red", "green"]))
    whole = Whole()
    truth = Truth()
    moment = Moment()
    some = ma.fields.List(ma.fields.String(), allow_none=True)
    tags = ma.fields.List(ma.fields.String())
    pairs = ma.fields.Dict(ma.fields.String(), ma.fields.Float())
    limits = limits_field()


def field(name: str, kind: Kind, **more: Any) -> Field:
    return Field(name, name.capitalize(), kind=kind, **more)


def sent(fields: dict[str, Any]) -> MultiDict[str, str]:
    return MultiDict(fields)


def body(one: Field, **fields: Any) -> Any:
    """What is sent of one field."""
    return body_of(Form(Every(), [one], sent=sent(fields)))


@pytest.fixture(autouse=True)
def request_context(app: Flask) -> Iterator[None]:
    """The page of a form."""
    with app.test_request_context("/ui/sessions"):
        yield


def shown(form: Form) -> BeautifulSoup:
    return BeautifulSoup(render_template_string(TEMPLATE, form=form), "html.parser")


def control(form: Form, name: str) -> Tag:
    [found] = shown(form).select(f'[name="{name}"]')
    return found


# What is sent


@pytest.mark.parametrize(
    ("one", "text", "value"),
    [
        (field("text", Kind.TEXT), "  search team ", "search team"),
        (field("secret", Kind.PASSWORD), " sk-1\n", "sk-1"),
        (field("area", Kind.TEXTAREA), " a\r\nb ", " a\nb "),
        (field("number", Kind.NUMBER), "12", 12),
        (field("number", Kind.NUMBER), "1.5", 1.5),
        (field("number", Kind.NUMBER), "many", "many"),
        (field("number", Kind.NUMBER), "nan", "nan"),
        (field("number", Kind.NUMBER), "1e999", "1e999"),
        (field("number", Kind.NUMBER), "9" * 30, float("9" * 30)),
        (field("choice", Kind.SELECT), "red", "red"),
        (field("whole", Kind.SELECT), "3", 3),
        (field("truth", Kind.SELECT), "true", True),
        (field("truth", Kind.SELECT), "false", False),
        (field("truth", Kind.SELECT), "perhaps", "perhaps"),
        (field("moment", Kind.DATETIME), "2026-05-04T10:20", "2026-05-04T10:20Z"),
        (field("moment", Kind.DATETIME), "2026-05-04T10:20:30", "2026-05-04T10:20:30Z"),
        (field("moment", Kind.DATETIME), "tomorrow", "tomorrow"),
        (field("tags", Kind.TAGS), " gpt-5* \r\n\r\n o3\n", ["gpt-5*", "o3"]),
        (field("pairs", Kind.PAIRS), "temperature = 1\ntop_p=0.5\nx", {"temperature": 1, "top_p": 0.5, "x": ""}),
    ],
)
def test_what_is_entered_is_what_the_api_would_be_sent(one: Field, text: str, value: Any) -> None:
    assert body(one, **{one.name: text}) == {one.name: value}


@pytest.mark.parametrize(
    ("blank", "expected"), [(Blank.LEFT_OUT, {}), (Blank.NULL, {"text": None}), (Blank.EMPTY, {"text": ""})]
)
@pytest.mark.parametrize("text", ["", "  ", None])
def test_nothing_is_what_the_field_says(blank: Blank, expected: object, text: str | None) -> None:
    assert body(field("text", Kind.TEXT, blank=blank), **({} if text is None else {"text": text})) == expected


@pytest.mark.parametrize("kind", [Kind.TAGS, Kind.CHOICES])
def test_lists_without_entries_are_sent_as_such(kind: Kind) -> None:
    assert body(field("some", kind)) == {"some": []}
    assert body(field("some", kind, blank=Blank.NULL)) == {"some": None}


def test_boxes_are_true_or_false(app: Flask) -> None:
    one = field("truth", Kind.CHECKBOX)

    assert body(one, truth="on") == {"truth": True} and body(one) == {"truth": False}


def test_several_choices_are_a_list() -> None:
    assert body(field("some", Kind.CHOICES), some=["a", "b"]) == {"some": ["a", "b"]}


def test_names_with_dots_lead_into_parts_of_the_body() -> None:
    found = body_of(Form(NewProject(), PROJECT, sent=sent({**GOOD, "features.retries": "false"})))

    assert found["policy"] == {"allowed_models": [], "max_values": {}} and found["features"] == {"retries": False}


def test_what_is_no_field_is_not_sent() -> None:
    assert "is_admin" not in body_of(Form(NewProject(), PROJECT, sent=sent({**GOOD, "is_admin": "yes"})))


def test_rows_of_limits_are_sent_in_their_order_and_empty_ones_are_not() -> None:
    rows = {
        "limits-10-measure": "tokens",
        "limits-10-window": "day",
        "limits-10-amount": "1000",
        "limits-2-measure": "cost",
        "limits-2-window": "month",
        "limits-2-amount": " 12.50 ",
        "limits-2-on_outage": "open",
        "limits-3-measure": "",
        "limits-3-on_outage": "closed",
        "limits-4-amount": "7",
        "limits-5-measure": "requests",
        "limits-5-window": "second",
        "limits-5-amount": "5",
        "limits-5-burst": "10",
        "limits-x-measure": "tokens",
        "limits-9-else": "x",
    }

    assert body(field("limits", Kind.LIMITS), **rows)["limits"] == [
        {"measure": "cost", "window": "month", "on_outage": "open", "amount": "12.50"},
        {"amount": 7},
        {"measure": "requests", "window": "second", "amount": 5, "burst": 10},
        {"measure": "tokens", "window": "day", "amount": 1000},
    ]


def test_a_good_form_loads_as_the_schema_says() -> None:
    form = Form(NewProject(), PROJECT, sent=sent({**GOOD, "policy.allowed_models": "gpt-5*"}))

    loaded = form.load()

    assert loaded["name"] == "search team" and loaded["policy"]["allowed_models"] == ["gpt-5*"]
    assert (form.errors, form.alerts) == ({}, [])


# What is wrong


def faults(form: Form) -> dict[str, list[str]]:
    assert form.load() is None
    return form.errors | ({"": form.alerts} if form.alerts else {})


def test_what_is_missing_is_said_at_its_field() -> None:
    assert faults(Form(NewProject(), PROJECT, sent=sent({}))) == {
        "name": ["Please fill this in."],
        "api_key": ["Please fill this in."],
    }


def test_what_is_wrong_deep_within_is_said_at_the_field_that_it_is_in() -> None:
    deep = {"policy.max_values": "temperature = hot", "features.retries": "perhaps"}
    deep |= {"limits-3-measure": "tokens", "limits-7-measure": "apples", "limits-7-amount": "1"}

    assert faults(Form(NewProject(), PROJECT, sent=sent(GOOD | deep))) == {
        "policy.max_values": ["temperature: Enter a number."],
        "features.retries": ["Choose one of those in the list."],
        "limits": [
            "Entry 1, amount: Please fill this in.",
            "Entry 2, measure: Must be one of: requests, tokens, cost, concurrent.",
        ],
    }


def test_what_belongs_to_no_field_is_said_above_all() -> None:
    found = faults(Form(NewToken(), [Field("label", "Label")], sent=sent({"label": "x"})))

    assert found == {"": ["project_id: Please fill this in.", "expires_in: Please fill this in."]}


@pytest.mark.parametrize(
    ("error", "errors", "alerts"),
    [
        (Invalid("name", "Must be shorter."), {"name": ["Must be shorter."]}, []),
        (Invalid("policy", "allowed_models: at most 100."), {"policy.allowed_models": ["at most 100."]}, []),
        (Invalid("limits", "Entry 2 (tokens per day): no."), {"limits": ["Entry 2 (tokens per day): no."]}, []),
        (Invalid("project_ids", "There is no project."), {}, ["There is no project."]),
        (Conflict("There is one of this name."), {}, ["There is one of this name."]),
    ],
    ids=["field", "part", "list", "other", "conflict"],
)
def test_what_the_domain_says_is_said_where_it_belongs(error: Any, errors: object, alerts: list[str]) -> None:
    form = Form(NewProject(), PROJECT, sent=sent(GOOD))

    form.refuse(error)

    assert (form.errors, form.alerts) == (errors, alerts)


def test_faults_are_bound_to_their_controls() -> None:
    form = Form(NewProject(), PROJECT, sent=sent({"name": ""}))
    form.load()
    page = shown(form)

    [name] = page.select("[name=name]")
    assert name["aria-invalid"] == "true" and name["aria-describedby"] == "field-name-help field-name-error"
    assert page.select("#field-name-error")[0].get_text(strip=True) == "Please fill this in."
    assert "need attention" in page.get_text()


# What is shown


def test_a_new_form_shows_what_the_page_gives_it() -> None:
    values = {
        "name": 'search "team"',
        "provider": "other",
        "policy": {"allowed_models": ["gpt-5*", "<o3>"], "max_values": {"temperature": 1.0, "top_p": 0.5}},
        "features": {"retries": False},
        "limits": [{"measure": "cost", "window": "day", "amount": "12.50", "burst": None, "on_outage": "open"}],
    }
    form = Form(NewProject(), PROJECT, values=values)

    assert control(form, "name")["value"] == 'search "team"'
    assert control(form, "provider").select("[selected]")[0]["value"] == "other"
    assert control(form, "policy.allowed_models").get_text().lstrip("\n") == "gpt-5*\n<o3>"
    assert control(form, "policy.max_values").get_text().lstrip("\n") == "temperature = 1\ntop_p = 0.5"
    assert control(form, "features.retries").select("[selected]")[0]["value"] == "false"
    assert control(form, "limits-0-amount")["value"] == "12.50"
    assert len(shown(form).select("[data-limit]")) == 3  # Two more for whoever has no scripts.


def test_what_was_sent_is_shown_again_but_no_secret() -> None:
    rows = {"limits-4-measure": "tokens", "limits-4-amount": "x", "policy.allowed_models": "a\nb"}
    form = Form(NewProject(), PROJECT, sent=sent({**GOOD, "name": " x", **rows}), values={"name": "old"})
    page = shown(form)

    assert control(form, "name")["value"] == " x" and control(form, "api_key")["value"] == ""
    assert GOOD["api_key"] not in str(page)
    assert control(form, "limits-0-amount")["value"] == "x"
    assert control(form, "policy.allowed_models").get_text().lstrip("\n") == "a\nb"


def test_every_control_has_a_name_that_is_read_out() -> None:
    fields = [field(name, kind) for name, kind in (("truth", Kind.CHECKBOX), ("some", Kind.CHOICES))]
    for form in (Form(NewProject(), PROJECT), Form(Every(), fields)):
        page = shown(form)
        labels = {str(label["for"]) for label in page.select("label[for]")}
        controls = page.select("input:not([type=hidden]), select, textarea")
        assert controls and all(each.get("aria-label") or each.get("id") in labels for each in controls)


def test_no_field_is_written_into_the_page_as_html() -> None:
    evil = "<script>alert(1)</script>"
    fields = [Field("name", evil, help=evil), Field("policy.allowed_models", evil, kind=Kind.TAGS)]
    form = Form(NewProject(), fields, values={"name": f'"{evil}', "policy": {"allowed_models": [evil]}})
    form.alerts.append(evil)

    assert not shown(form).select("script")


# What browsers are told


@pytest.mark.parametrize(
    ("one", "attributes"),
    [
        (field("text", Kind.TEXT), {"required": "", "minlength": "1", "maxlength": "200"}),
        (field("secret", Kind.PASSWORD), {"minlength": "8", "autocomplete": "off"}),
        (field("number", Kind.NUMBER), {"min": "1", "step": "1", "type": "number"}),
        (field("share", Kind.NUMBER), {"min": "0", "max": "1", "step": "any"}),
        (field("moment", Kind.DATETIME), {"type": "datetime-local"}),
        (
            field("text", Kind.TEXT, required=False, attributes={"maxlength": "9", "placeholder": "x"}),
            {"maxlength": "9"},
        ),
    ],
)
def test_browsers_are_told_the_rules_of_the_schema(one: Field, attributes: dict[str, str]) -> None:
    found = control(Form(Every(), [one]), one.name)

    assert {name: found.get(name) for name in attributes} == attributes


def test_a_rule_can_be_left_to_the_server() -> None:
    found = control(Form(Every(), [field("text", Kind.TEXT, attributes={"pattern": None})]), "text")

    assert found.get("pattern") is None and found.get("maxlength") == "200"


def test_patterns_are_in_characters_that_html_keeps() -> None:
    pattern = str(control(Form(Every(), [field("text", Kind.TEXT)]), "text")["pattern"])

    assert pattern.isascii() and pattern.isprintable() and "\\u{0}" in pattern


def test_examples_of_addresses_are_no_rules() -> None:
    assert control(Form(NewProject(), PROJECT), "base_url").get("pattern") is None


@pytest.mark.parametrize(
    ("schema", "one", "values"),
    [
        (Every(), field("choice", Kind.SELECT), ["", "red", "green"]),
        (Every(), field("truth", Kind.SELECT), ["", "true", "false"]),
        (NewOperator(), field("role", Kind.SELECT), ["", "auditor", "operator", "admin"]),
    ],
    ids=["one-of", "boolean", "enum"],
)
def test_choices_are_those_of_the_schema(schema: ma.Schema, one: Field, values: list[str]) -> None:
    found = control(Form(schema, [one]), one.name)

    assert [option["value"] for option in found.select("option")] == values


def test_limits_of_a_token_do_not_offer_what_is_elsewhere() -> None:
    def windows(scope: Scope) -> str:
        page = shown(Form(Every(), [field("limits", Kind.LIMITS, scope=scope)]))
        return str(page.select("option[value=requests]")[0]["data-windows"])

    assert "life" in windows(Scope.PROJECT) and "life" not in windows(Scope.TOKEN)


def test_a_field_that_the_schema_does_not_have_is_a_mistake_of_the_page() -> None:
    with pytest.raises(KeyError):
        Form(Every(), [Field("nothing", "Nothing")])["nothing"]


# Handling


def handle(app: Flask, act: Any, **fields: str) -> Any:
    with app.test_request_context("/ui/x", method="POST", data=fields):
        return handled(Form(NewProject(), PROJECT), "sign_in.html", act, error="", next="/ui/")


def test_what_is_good_is_acted_upon(app: Flask) -> None:
    assert handle(app, lambda body: f"made {body['name']}", **GOOD) == "made search team"


def test_what_is_not_good_is_shown_again_and_not_acted_upon(app: Flask) -> None:
    page, status = handle(app, lambda body: pytest.fail("acted"), name="")

    assert status == 422 and "<h1>" in page


def test_what_the_domain_refuses_is_shown_again(app: Flask) -> None:
    def act(body: Any) -> Any:
        raise Conflict("There is one of this name.")

    assert handle(app, act, **GOOD)[1] == 422


def test_what_may_not_be_done_is_no_matter_of_the_form(app: Flask) -> None:
    def act(body: Any) -> Any:
        raise Forbidden("This needs the role admin.")

    with pytest.raises(Forbidden):
        handle(app, act, **GOOD)


@pytest.mark.parametrize(("typed", "is_right"), [("search team", True), (" search team ", True), ("search", False)])
def test_a_typed_name_confirms(app: Flask, typed: str, is_right: bool) -> None:
    with app.test_request_context("/ui/x", method="POST", data={"typed": typed}):
        assert (confirmed("search team") == "") is is_right
