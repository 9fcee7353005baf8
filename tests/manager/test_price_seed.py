"""Rules of seeding: the list's prices are SQL's, once for each version, overrides stay, no list is told of."""

from pathlib import Path

from structlog.testing import capture_logs

from manager import db, price_list, prices, publications
from manager.price_seed import PriceSeed
from manager.publications import Name
from manager.tables import Price as Row
from shared import prices as reckoning
from shared.models import Usage
from shared.prices import Price
from tests.manager.conftest import NOW, Rows

LISTED = [Price("openai", "gpt-5", prompt=1, completion=2), Price("openai", "gpt-5", prompt=3, valid_from=NOW)]


def versions(sessions: db.Sessions) -> int:
    with db.reading(sessions) as session:
        return publications.version(session, Name.PRICES)


def replace_list(sessions: db.Sessions, *listed: Price, source: str = "list 1") -> bool:
    with sessions.begin() as session:
        return prices.replace_list(session, NOW, source, listed)


def test_the_installed_list_becomes_prices_that_can_be_reckoned_with(sessions: db.Sessions, rows: Rows) -> None:
    with capture_logs() as logged:
        assert PriceSeed(sessions, None).seed(NOW)

    with db.reading(sessions) as session:
        table = prices.table(session)
    assert reckoning.cost(table, "openai", "gpt-4o", Usage(1_000_000, 0), NOW) == 2_500_000_000
    assert {(row.provider, row.source) for row in rows.all(Row)} == {
        ("openai", price_list.installed()),
        ("anthropic", price_list.installed()),
    }
    assert [(entry["event"], entry["count"]) for entry in logged] == [("prices_seeded", len(table.prices))]
    assert len(reckoning.encode_table(table)) < 200_000


def test_a_list_that_is_there_already_changes_nothing(sessions: db.Sessions) -> None:
    seed = PriceSeed(sessions, None)

    assert [seed.seed(NOW), seed.seed(NOW), PriceSeed(sessions, None).seed(NOW)] == [True, False, False]
    assert versions(sessions) == 1


def test_only_providers_of_the_table_have_prices(sessions: db.Sessions, rows: Rows, tmp_path: Path) -> None:
    file = tmp_path / "providers.toml"
    file.write_text(
        '[providers.groq]\nbase_url = "https://api.groq.example"\ndialect = "openai"\n'
        'credential = { header = "authorization", scheme = "Bearer" }\n'
        'routes = [{ name = "models", path = "/models", methods = ["GET"] }]'
    )

    PriceSeed(sessions, file).seed(NOW)

    assert {row.provider for row in rows.all(Row)} == {"groq"}


def test_a_newer_list_takes_the_place_of_the_older_one_and_overrides_stay(sessions: db.Sessions, rows: Rows) -> None:
    rows.add(Row(provider="openai", model="gpt-5", prompt=9, updated_at=NOW))

    counts = [replace_list(sessions, *LISTED), replace_list(sessions, LISTED[0], source="list 2")]

    assert counts == [True, True]
    assert sorted((row.source, row.prompt) for row in rows.all(Row)) == [("", 9), ("list 2", 1)]
    assert versions(sessions) == 2


def test_the_order_of_a_list_is_no_change(sessions: db.Sessions) -> None:
    assert [replace_list(sessions, *LISTED), replace_list(sessions, *reversed(LISTED))] == [True, False]


def test_without_a_list_it_is_said_once_that_costs_are_unknown(sessions: db.Sessions) -> None:
    seed = PriceSeed(sessions, None, "genai-prices-of-nobody")

    with capture_logs() as logged:
        assert [seed.seed(NOW), seed.seed(NOW)] == [False, False]

    assert [entry["event"] for entry in logged] == ["no_prices"]


def test_without_a_list_what_was_there_stays_and_nothing_is_said(sessions: db.Sessions, rows: Rows) -> None:
    replace_list(sessions, *LISTED)

    with capture_logs() as logged:
        PriceSeed(sessions, None, "genai-prices-of-nobody").seed(NOW)

    assert logged == [] and len(rows.all(Row)) == 2


def test_the_book_is_read_again_only_after_a_change(sessions: db.Sessions) -> None:
    book = prices.PriceBook()
    with db.reading(sessions) as session:
        assert book.current(session).prices == ()
    replace_list(sessions, *LISTED)

    with db.reading(sessions) as session:
        first, second = book.current(session), book.current(session)

    assert set(first.prices) == set(LISTED) and first is second
