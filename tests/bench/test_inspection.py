"""Rules of the inspector's benchmark: all flows pass, so many are kept, and memory is bounded by that."""

import pytest

from tests.bench import document, inspection


@pytest.mark.timeout(120)
def test_flows_pass_through_a_real_inspector_in_bounded_memory() -> None:
    found = inspection.measured(8000)["inspector"]

    assert (found["flows"], found["records"], found["kept"]) == (8000, 24_000, inspection.BOUNDED_FLOWS)
    assert found["flows_per_second"] > 0
    # 5,000 flows with bodies of 20 kB are 100 MB of the 256 that they may have.
    assert found["empty_mb"] < found["peak_mb"] < found["empty_mb"] + 2 * inspection.BOUNDED_MB


def test_the_document_gets_a_table() -> None:
    figures = {
        "flows": 1_000_000,
        "records": 3_000_000,
        "body_bytes": 20_000,
        "flows_per_second": 3000,
        "seconds": 333.3,
    }
    figures |= {"empty_mb": 80.5, "peak_mb": 300.0, "kept": 5000, "bounded_flows": 5000, "bounded_mb": 256}

    [(place, table)] = document.tables({"inspector": figures}, {}).items()

    assert place == "inspector" and "| flows, of three records each | 1,000,000 |" in table
    assert "| memory at most | 300 MB |" in table
