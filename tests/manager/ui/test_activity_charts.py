"""What counts as a failure on the dashboard."""

from manager.ui.activity_charts import ended_badly


def test_what_clients_left_and_operators_ended_has_not_failed() -> None:
    wanted = {"ok": 9, "client_aborted": 1, "cut": 1, "request_cut": 1, "request_refused": 1}

    assert ended_badly({**wanted, "hold_expired": 2, "request_denied": 3, "upstream_error": 4}) == 9
