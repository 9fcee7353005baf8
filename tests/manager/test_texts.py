"""Rules of names and labels: any text that can be shown and stored, up to a length."""

import pytest

from manager import texts
from manager.errors import Invalid


@pytest.mark.parametrize(
    ("text", "name"),
    [("a", "a"), ("  padded ", "padded"), ("x" * 200, "x" * 200), (f" {'x' * 198} ", "x" * 198), ("😀", "😀")],
    ids=["short", "padded", "longest", "longest and padded", "emoji"],
)
def test_a_name_has_up_to_200_characters_without_the_space_around_it(text: str, name: str) -> None:
    assert texts.check_name(text, "name") == name


@pytest.mark.parametrize(
    "text", ["", "   ", "x" * 201, "a\0b", "a\nb", "a\x7fb", "a\x85b", "a\ud800b"], ids=lambda text: ascii(text)[:12]
)
def test_a_name_that_is_empty_too_long_or_unprintable_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        texts.check_name(text, "label")

    assert refused.value.field == "label"


@pytest.mark.parametrize(
    "text", ["\u200b", "\u200b \u2060", "\ufeff", "\u3164", "\u2800", "\u200d\ufe0f", "\U000e0041"], ids=ascii
)
def test_a_name_of_which_nothing_can_be_seen_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="can be seen"):
        texts.check_name(text, "name")


@pytest.mark.parametrize("text", ["a\u200bb", "👩\u200d🔬", "\u200fשלום", "é", "\U0010ffff", "\ue000"], ids=ascii)
def test_invisible_characters_among_others_belong_to_the_name(text: str) -> None:
    assert texts.check_name(text, "name") == text


@pytest.mark.parametrize("text", ["", " padded ", "x" * 200, "😀"], ids=["empty", "padded", "longest", "emoji"])
def test_a_label_has_up_to_200_characters_and_stays_as_it_is(text: str) -> None:
    assert texts.check_label(text) == text


@pytest.mark.parametrize("text", ["x" * 201, "a\nb", "a\ud800b"], ids=["long", "newline", "surrogate"])
def test_a_label_that_is_too_long_or_unprintable_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        texts.check_label(text)

    assert refused.value.field == "label"
