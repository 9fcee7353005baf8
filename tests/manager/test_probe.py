"""Rules of a probe: one question at a time, and nobody waits longer than he is willing to."""

import threading

import pytest

from manager.probe import Probe


def test_an_answer_is_given() -> None:
    assert Probe(lambda: 7).begin().result(5) == 7


def test_each_question_is_asked_anew() -> None:
    answers = iter([1, 2, 3])
    probe = Probe(lambda: next(answers))

    assert [probe.begin().result(5) for _ in range(3)] == [1, 2, 3]


def test_whatever_goes_wrong_is_told_to_whoever_asked() -> None:
    def fail() -> None:
        raise KeyError("a fault")

    with pytest.raises(KeyError, match="a fault"):
        Probe(fail).begin().result(5)


def test_nobody_waits_longer_than_he_is_willing_to_and_nobody_asks_twice() -> None:
    asked, answer = [], threading.Event()

    def hang() -> str:
        asked.append(threading.current_thread())
        answer.wait(10)
        return "late"

    probe = Probe(hang)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            probe.begin().result(0.02)
    last = probe.begin()
    answer.set()

    assert last.result(5) == "late"
    assert len(asked) == 1 and asked[0].daemon
