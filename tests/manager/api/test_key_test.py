"""Rules of testing a key: the provider is asked what costs nothing, and its words and the key are told to nobody."""

import pytest
import requests
import requests_mock

from tests.manager.api.conftest import PROVIDER_KEY, Api, problem
from tests.manager.conftest import one_database


@pytest.fixture
def path(api: Api) -> str:
    """Of a key whose project goes to an address of its own."""
    made = api.project(base_url="https://eu.example.org/llm")
    return f"projects/{made['id']}/keys/{made['keys'][0]['id']}"


@pytest.mark.parametrize(
    ("status", "state"),
    [(200, "ok"), (401, "refused"), (403, "refused"), (429, "limited"), (500, "unclear"), (302, "unclear")],
)
def test_a_key_is_tried_at_its_projects_provider(
    api: Api, path: str, requests_mock: requests_mock.Mocker, status: int, state: str
) -> None:
    provider = requests_mock.get(
        "https://eu.example.org/llm/v1/models",
        status_code=status,
        text=f"{PROVIDER_KEY} is fine",
        headers={"location": "https://evil.example.org/"},
    )

    answer = api.post(f"{path}/test")

    assert answer.status_code == 200 and (answer.json["state"], answer.json["status"]) == (state, status)
    assert answer.json["milliseconds"] >= 0 and PROVIDER_KEY not in answer.text and "fine" not in answer.text
    [asked] = provider.request_history
    assert asked.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert asked.verify is True and 0 < asked.timeout[1] <= 10


@pytest.mark.parametrize(
    "error", [requests.ConnectTimeout, requests.ReadTimeout, requests.exceptions.SSLError, requests.ConnectionError]
)
def test_a_provider_that_does_not_answer_says_nothing_of_the_key(
    api: Api, path: str, requests_mock: requests_mock.Mocker, error: type[Exception]
) -> None:
    requests_mock.get("https://eu.example.org/llm/v1/models", exc=error(f"with {PROVIDER_KEY}"))

    answer = api.post(f"{path}/test")

    # Whether a port is open is not told.
    assert answer.json == {"state": "unreachable", "reason": "unreachable", "status": 0, "milliseconds": 0.0}
    [event] = api.get("audit", action="key.test").json["items"]
    assert event["detail"] == {"state": "unreachable", "status": 0, "reason": "unreachable"}


def test_a_test_is_audited(api: Api, path: str, requests_mock: requests_mock.Mocker) -> None:
    requests_mock.get("https://eu.example.org/llm/v1/models", status_code=401)

    api.post(f"{path}/test")

    [event] = api.get("audit", action="key.test").json["items"]
    assert event["detail"] == {"state": "refused", "status": 401, "reason": "status_401"}


@one_database
def test_a_key_that_is_not_there_is_not_tested(api: Api, path: str) -> None:
    assert problem(api.post(f"{path[:-1]}{'0' if path[-1] != '0' else '1'}/test")) == (404, "not_found")
