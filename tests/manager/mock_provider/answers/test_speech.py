"""What is said: an echo in word pieces, cut, stretched or grouped as asked."""

import pytest

from manager.mock_provider.answers.speech import ECHOED_WORDS, say


def test_the_answer_echoes_what_was_heard_word_by_word() -> None:
    speech = say("good  morning\nworld ")

    assert speech.pieces == ["You", " said:", " good", "  morning", "\nworld"]
    assert (speech.text, speech.tokens, speech.cut) == ("You said: good  morning\nworld", 5, False)


def test_silence_is_answered_too() -> None:
    assert say("").text == "You said:"


def test_only_the_beginning_of_a_long_speech_is_echoed() -> None:
    assert say("word " * 100_000).tokens == ECHOED_WORDS + 2
    assert len(say("x" * 100_000).text) < 2100


@pytest.mark.parametrize(
    ("limit", "text", "cut"), [(1, "You", True), (3, "You said: hi", False), (9, "You said: hi", False)]
)
def test_a_limit_cuts_after_that_many_words(limit: int, text: str, cut: bool) -> None:
    speech = say("hi", limit)

    assert (speech.text, speech.cut, speech.tokens) == (text, cut, len(text.split()))


@pytest.mark.parametrize("chunks", [1, 2, 3, 4, 5, 7, 100])
def test_the_number_of_chunks_is_exact(chunks: int) -> None:
    speech = say("one two", chunks=chunks)

    assert len(speech.pieces) == chunks
    assert all(speech.pieces)
    assert speech.text.startswith("You said: one two")
    assert speech.tokens == len(speech.text.split()) == max(4, chunks)


def test_a_limit_wins_over_chunks() -> None:
    speech = say("one two", limit=3, chunks=10)

    assert (len(speech.pieces), speech.tokens, speech.cut) == (3, 3, True)
