"""Rules of the management benchmark: everything is asked for and answered, on both databases, at any size."""

import pytest

from tests.bench import document, management
from tests.bench.management import LISTS, REQUESTS, SUMS
from tests.bench.management_rows import Size

SMALL = Size(projects=20, tokens=500, requests=3000)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("database", management.DATABASES)
def test_every_question_is_answered_and_judged(database: str) -> None:
    content = management.measured(SMALL, 2, (database,))

    questions = [question.name for question in (*LISTS, *REQUESTS, *SUMS)]
    assert [row["name"] for row in content["rows"]] == questions
    assert all(0 < row["median_ms"] <= row["p95_ms"] for row in content["rows"])
    assert 0 < content["size"]["rolled_up"] <= 3000


def test_the_document_gets_a_table_with_both_databases() -> None:
    figures = {"median_ms": 1.5, "p95_ms": 2.0, "most_ms": 100.0, "is_met": True, "name": "tokens"}
    content = {
        "size": {"rolled_up": 1},
        "rows": [figures | {"database": database} for database in management.DATABASES],
    }

    [(place, table)] = document.tables(content, {}).items()

    assert place == "management"
    assert (
        table.splitlines()[0]
        == "| asked for | sqlite: median, p95 (ms) | postgresql: median, p95 (ms) | target: p95 below |"
    )
    assert table.splitlines()[2] == "| tokens | 1.5, 2 | 1.5, 2 | 100 |"
