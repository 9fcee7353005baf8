"""What wrk says."""

import pytest

from tests.bench import wrk


def test_figures_are_read_from_the_last_line() -> None:
    said = (
        "Running 1s test\n"
        '{"requests": 3000, "us": 1500000, "p50": 340.0, "p99": 900.5, "status": 2, "broken": 1}\n'
    )  # fmt: skip

    assert wrk.parse(said) == wrk.Outcome(2000.0, 0.34, 0.9005, 3000, 2, 1)


def test_anything_else_is_an_error_with_what_was_said() -> None:
    with pytest.raises(wrk.LoadError, match="unable to connect"):
        wrk.parse("", "unable to connect to 127.0.0.1:1 Connection refused")
