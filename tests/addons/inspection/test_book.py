"""Rules of what is known: records put together, what was written by hand until the feed knows better, and bounds."""

import pytest
from mitmproxy.addons.view import View
from mitmproxy.flow import Flow
from mitmproxy.http import HTTPFlow

from addons.inspection.book import Book, Known
from addons.inspection.bounds import Bounds, Entry, Ledger
from shared.flow_schema import Message
from tests.flow_records import ASKED, JSON, ended, held, record, request_id, streaming

WHOLE = Message(JSON, len(ASKED), ASKED)


@pytest.fixture
def view() -> View:
    return View()


@pytest.fixture
def book(view: View) -> Book:
    return Book(view, Bounds(100, 1 << 20), "http://manager")


def known(book: Book, number: int = 1) -> Known:
    found = book.find(request_id(number))
    assert found is not None
    return found


def test_records_of_a_request_become_one_flow_that_grows(book: Book, view: View) -> None:
    seen: list[bytes | None] = []

    def grow(flow: Flow) -> None:
        assert isinstance(flow, HTTPFlow) and flow.response is not None
        seen.append(flow.response.content)

    view.sig_view_update.connect(grow)

    book.take([record(), streaming(body=b"a"), streaming(revision=3, body=b"ab"), ended(revision=4, body=b"abc")])

    assert len(view) == 1 and seen == [b"a", b"ab", b"abc"]
    assert view[0].request.content == ASKED and view[0].metadata["llm_proxy"]["phase"] == "ended"
    assert view[0].metadata["llm_proxy"]["request_url"] == f"http://manager/ui/requests/{request_id(1)}"


@pytest.mark.parametrize("revision", [1, 2, 3])
def test_an_older_record_says_nothing_new(book: Book, view: View, revision: int) -> None:
    book.take([ended(revision=3), streaming(revision=revision, body=b"late")])

    assert view[0].response.content == b'{"ok":true}' and not view[0].live


def test_a_flow_that_is_seen_first_at_its_end_is_shown(book: Book, view: View) -> None:
    book.take([ended()])

    assert len(view) == 1 and view[0].response.content == b'{"ok":true}'


def test_flows_stand_by_when_they_began(book: Book, view: View) -> None:
    book.take([record(3), record(1), record(2)])

    assert [flow.id for flow in view] == [request_id(number) for number in (1, 2, 3)]


# What is held


def test_the_whole_body_of_a_held_request_is_shown_until_it_goes_on(book: Book, view: View) -> None:
    book.take([record(request=Message(JSON, note="metadata only")), held()])
    before = view[0].request.raw_content

    book.take_held(held(request=WHOLE))
    while_held = view[0].request.content
    book.take([held(revision=3)])
    still_held = view[0].request.content
    book.take([streaming(revision=4, request=Message(JSON, note="metadata only"))])

    assert (before, while_held, still_held, view[0].request.raw_content) == (None, ASKED, ASKED, None)


def test_the_whole_body_of_a_request_that_has_gone_on_is_not_taken(book: Book, view: View) -> None:
    book.take([held(), streaming(revision=3, request=Message(JSON, note="metadata only"))])

    book.take_held(held(request=WHOLE))

    assert view[0].request.raw_content is None


def test_an_edit_is_shown_at_once_and_can_be_taken_back(book: Book, view: View) -> None:
    book.take([held()])
    book.take_held(held(request=WHOLE))

    book.edit(known(book), "session", '{"model":"other"}')
    edited = (view[0].request.content, view[0].modified(), known(book).edited)
    book.revert(known(book))

    assert edited == (b'{"model":"other"}', True, '{"model":"other"}')
    assert (view[0].request.content, view[0].modified(), known(book).edited) == (ASKED, False, None)


def test_what_was_edited_stays_while_the_request_is_held_and_not_longer(book: Book, view: View) -> None:
    book.take([held()])
    book.take_held(held(request=WHOLE))
    book.edit(known(book), "session", "edited")

    book.take([held(revision=3)])
    still = view[0].request.content
    book.take([ended(revision=4)])

    assert still == b"edited" and view[0].request.content == ASKED and known(book).edited is None
    assert not view[0].modified()


# What is written beside


def test_a_reason_stands_behind_the_remark_quoted_and_goes_when_the_request_goes_on(book: Book, view: View) -> None:
    book.take([held()])
    plain = view[0].comment

    book.comment(known(book), "session", f'{plain} leaks "names"')
    said, reason = view[0].comment, known(book).reason
    book.comment(known(book), "session", f"{said} and more")
    more = known(book).reason
    book.comment(known(book), "session", plain)

    assert said == plain + r' reason="leaks \"names\""' and reason == ("session", 'leaks "names"')
    assert more == ("session", "and more") and view[0].comment == plain and known(book).reason is None


def test_why_somebody_ends_a_stream_is_not_forgotten_while_it_grows(book: Book) -> None:
    book.take([streaming()])

    book.comment(known(book), "session", "ticket 4711")
    book.take([streaming(revision=3)])
    still = known(book).reason
    book.take([ended(revision=4)])

    assert still == ("session", "ticket 4711") and known(book).reason is None


def test_why_is_what_was_written_though_the_line_has_changed_meanwhile(book: Book, view: View) -> None:
    book.take([streaming()])
    book.comment(known(book), "session", "slow")

    written = view[0].comment + " ticket 4711"
    book.take([streaming(revision=3, completion_tokens=9)])
    book.comment(known(book), "session", written)

    assert known(book).reason == ("session", "ticket 4711")


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("{} why", "why"),
        ("{}", "before"),
        ("{} model=gpt leaks", "model=gpt leaks"),
        ('request=1 reason="bef\\u003dore"', "bef=ore"),
        ('request=1 tag=a tag="b c" why', "why"),
        ('request=1 reason="\\x"', "\\x"),
        ("", None),
    ],
    ids=["behind", "nothing new", "like a fact", "changed within", "an older line", "no JSON", "taken away"],
)
def test_a_reason_is_read_from_whatever_was_written(book: Book, view: View, written: str, reason: str | None) -> None:
    book.take([record()])
    book.comment(known(book), "session", "before")

    book.comment(known(book), "session", written.replace("{}", view[0].comment))

    assert (known(book).reason or (None, None))[1] == reason


def test_a_mark_of_hand_stays(book: Book, view: View) -> None:
    book.take([record()])

    book.mark(known(book), ":eyes:")
    book.take([ended(outcome="cut")])

    assert view[0].marked == ":eyes:"


def test_trouble_is_shown_until_the_next_record(book: Book, view: View) -> None:
    book.take([record()])

    book.trouble(known(book), "kill: no")
    told = view[0].comment
    book.take([streaming()])

    assert told.endswith(' failed="kill: no"') and "failed" not in view[0].comment


# Bounds


def test_the_oldest_flows_go_first_and_those_that_are_held_last(view: View) -> None:
    book = Book(view, Bounds(3, 1 << 20), "")

    book.take([held(1), *(record(number) for number in range(2, 6))])

    assert [flow.id for flow in view] == [request_id(number) for number in (1, 4, 5)]
    assert len(book) == 3 and book.find(request_id(2)) is None


def test_strangers_push_nobody_out(view: View) -> None:
    book = Book(view, Bounds(16, 1 << 20), "")

    book.take([ended(1), *(ended(number, route="") for number in range(2, 100)), ended(100)])
    first = [flow.id for flow in view]
    book.take([ended(number) for number in range(101, 115)])

    assert first == [request_id(number) for number in (1, 98, 99, 100)]
    assert [flow.id for flow in view] == [request_id(number) for number in (1, *range(100, 115))]


def test_if_all_are_held_the_oldest_goes(view: View) -> None:
    book = Book(view, Bounds(2, 1 << 20), "")

    book.take([held(number) for number in range(1, 5)])

    assert [flow.id for flow in view] == [request_id(3), request_id(4)]


def test_bodies_are_bounded_together_also_while_they_grow(view: View) -> None:
    book = Book(view, Bounds(100, 10_000), "")

    book.take([record(1), record(2), *(streaming(2, size, b"x" * 1080 * size) for size in range(2, 10))])

    assert [flow.id for flow in view] == [request_id(2)] and 9000 < book.size <= 10_000


def test_what_is_larger_than_all_there_is_room_for_is_not_kept(view: View) -> None:
    book = Book(view, Bounds(100, 1000), "")

    book.take([ended(1, body=b"x" * 2000), record(2)])

    assert [flow.id for flow in view] == [request_id(2)]


def test_a_running_flow_that_had_to_go_comes_back_with_what_is_told_next(view: View) -> None:
    book = Book(view, Bounds(1, 1 << 20), "")
    book.take([record(1), record(2)])

    book.take([streaming(1, 5, b"later")])

    assert [flow.id for flow in view] == [request_id(1)]
    assert view[0].response.content == b"later" and view[0].request.raw_content is None
    assert "went by before" in view[0].metadata["llm_proxy"]["request_note"]


def test_nothing_is_left_of_what_had_to_go(view: View) -> None:
    book = Book(view, Bounds(1, 1 << 20), "")
    book.take([record(1)])
    gone = known(book, 1)

    book.take([record(2)])
    book.trouble(gone, "too late")

    assert len(view) == len(book) == view.store_count() == len(view.settings) == 1
    assert book.size == sum(entry.size for entry in book._ledger.entries.values())


def test_a_ledger_counts_what_changes_and_forgets_what_goes() -> None:
    ledger = Ledger(Bounds(2, 100))
    for name, size in (("a", 40), ("b", 40), ("a", 50)):
        ledger.note(name, Entry(size, False))
    assert ledger.size == 90 and list(ledger.surplus()) == []

    ledger.note("c", Entry(20, False))

    assert list(ledger.surplus()) == ["a"] and ledger.size == 60 and list(ledger.entries) == ["b", "c"]
