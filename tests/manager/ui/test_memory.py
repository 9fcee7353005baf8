"""Rules of what is kept: for its time, made once for all who want it, and never what could not be made."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from manager.ui.memory import OLDEST_SECONDS, Memory


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_was_made_is_kept_for_its_time() -> None:
    clock, made = Clock(), iter(range(9))
    memory = Memory(clock=clock)

    first = memory.get("a", 5, lambda: next(made))
    clock.now = 4.9
    second = memory.get("a", 5, lambda: next(made))
    clock.now = 5
    third = memory.get("a", 5, lambda: next(made))

    assert (first, second, third, memory.get("b", 5, lambda: next(made))) == (0, 0, 1, 2)


def test_many_who_want_the_same_have_it_made_once() -> None:
    memory, made, gate = Memory(), iter(range(9)), threading.Event()

    def make() -> int:
        gate.wait(10)
        return next(made)

    with ThreadPoolExecutor(4) as pool:
        wanted = [pool.submit(memory.get, "a", 60, make) for _ in range(4)]
        gate.set()

        assert {each.result(10) for each in wanted} == {0}


def test_what_could_not_be_made_is_not_kept() -> None:
    memory = Memory()
    with pytest.raises(ZeroDivisionError):
        memory.get("a", 60, lambda: 1 / 0)

    assert memory.get("a", 60, lambda: 2.0) == 2.0


def test_what_nobody_asked_for_since_long_is_forgotten_first() -> None:
    memory, made = Memory(most=2), iter(range(9))
    for key in ("a", "b", "a", "c"):
        memory.get(key, 60, lambda: next(made))

    assert [memory.get(key, 60, lambda: next(made)) for key in ("a", "b")] == [0, 3]


def test_while_one_makes_it_anew_others_have_what_was_made_before() -> None:
    clock, begun, gate = Clock(), threading.Event(), threading.Event()
    memory = Memory(clock=clock)
    memory.get("a", 5, lambda: "old")

    def make() -> str:
        begun.set()
        gate.wait(10)
        return "new"

    clock.now = 6
    with ThreadPoolExecutor(2) as pool:
        renewed = pool.submit(memory.get, "a", 5, make)
        assert begun.wait(10)
        try:
            assert pool.submit(memory.get, "a", 5, make).result(2) == "old"
        finally:
            gate.set()
        assert renewed.result(10) == "new"
    assert memory.get("a", 5, lambda: "newer") == "new"


def test_what_is_too_old_is_waited_for() -> None:
    clock, begun, gate = Clock(), threading.Event(), threading.Event()
    memory = Memory(clock=clock)
    memory.get("a", 5, lambda: "old")

    def make() -> str:
        begun.set()
        gate.wait(10)
        return "new"

    clock.now = 5 + OLDEST_SECONDS
    with ThreadPoolExecutor(2) as pool:
        wanted = [pool.submit(memory.get, "a", 5, make) for _ in range(2)]
        assert begun.wait(10)
        gate.set()

        assert [each.result(10) for each in wanted] == ["new", "new"]


def test_what_could_not_be_made_anew_is_tried_again() -> None:
    clock = Clock()
    memory = Memory(clock=clock)
    memory.get("a", 5, lambda: 1.0)
    clock.now = 6
    with pytest.raises(ZeroDivisionError):
        memory.get("a", 5, lambda: 1 / 0)

    assert memory.get("a", 5, lambda: 2.0) == 2.0
