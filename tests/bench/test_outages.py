"""What an outage looks like from outside."""

from tests.bench.exchanges import Answer
from tests.bench.scenarios.outages import judged


def test_an_outage_lasts_from_the_first_to_the_last_refusal() -> None:
    answers = [Answer(1.0, 200, 2.0), Answer(2.5, 503, 500.0), Answer(2.75, 503, 10.0), Answer(3.0, 200, 9.0)]

    burst = judged(answers, is_back=True)

    assert burst.figures == {"rps": 1.0, "slowest_ms": 500.0, "away_ms": 750.0, "refused": 2.0}
    assert (burst.errors, burst.complaint) == (0, "")
    assert burst.notes == {"answers by status": "200: 2, 503: 2"}


def test_anything_but_a_refusal_is_an_error() -> None:
    burst = judged([Answer(1.0, 0, 2.0), Answer(2.0, 200, 2.0)], is_back=True)

    assert burst.errors == 1
    assert "unexpected answers" in burst.complaint


def test_service_has_to_be_back_at_the_end() -> None:
    assert judged([Answer(1.0, 200, 2.0), Answer(2.0, 503, 2.0)], is_back=False).complaint
