"""The service does what its description says: with a token, without one, on both databases."""

from datetime import UTC, datetime

import pytest
import redis

from manager import db, rollup
from shared import redis_schema
from tests.manager.api.conftest import Api
from tests.manager.api.fuzzing import hold_to_its_word
from tests.manager.conftest import MANAGEMENT_TOKEN, Serve, numbered
from tests.manager.live_workers import Workers, running

pytestmark = [
    pytest.mark.timeout(3 * 3600),
    # Of some made-up requests, even their names are long.
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
]

FAR = datetime(2100, 1, 1, tzinfo=UTC)


def furnish(api: Api, client: redis.Redis, sessions: db.Sessions) -> list[dict[str, str]]:
    """Make one of each thing, some times over, and return their ids."""
    made, workers = [], Workers(client)
    for number in range(30):
        project_id = api.project(f"team {number}")["id"]
        key = api.post(f"projects/{project_id}/keys", api_key="sk-proj-another-provider-key-4567").json
        things = {"project_id": project_id, "key_id": key["id"], "token_id": api.token(project_id)["id"]}
        price = api.put("prices", provider="openai", model=f"gpt-{number}", prompt="1").json
        operator = api.post("operators", name=f"night {number}", role="operator").json
        things |= {"price_id": price["id"], "operator_id": operator["id"], "request_id": f"r{number:05}"}
        things["event_id"] = api.get("audit", limit=1).json["items"][0]["id"]
        things["letter_id"] = client.xadd(redis_schema.USAGE_DEAD_LETTERS, {"event": b"x"}).decode()
        made.append(things)
        workers.hold(things["request_id"], project_id, things["token_id"])
    workers.tell("host:1", *[running(things["request_id"], project_id=things["project_id"]) for things in made])
    client.zadd(redis_schema.WORKERS, {"host:1": redis_schema.to_ms(FAR)})  # It stays there.
    with sessions.begin() as session:
        rollup.record(session, [rollup.request_row(event) for event in numbered(30)])
    return made


@pytest.mark.parametrize("token", [MANAGEMENT_TOKEN, None], ids=["with token", "without"])
def test_schemathesis_finds_nothing(
    serve: Serve,
    database_url: str,
    redis_client: redis.Redis,
    sessions: db.Sessions,
    valkey_url: str,
    pytestconfig: pytest.Config,
    token: str | None,
) -> None:
    patient = {"LLM_PROXY_MAX_TOKEN_LIFETIME": "P36500D", "LLM_PROXY_API_RATE": "1000000 per second"}
    app = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, **patient)

    things = furnish(Api(app.test_client()), redis_client, sessions)

    report = hold_to_its_word(app, token, pytestconfig.getoption("fuzz_examples"), things)

    if token is not None:
        # A few may come too late: their things have been revoked or deleted by then.
        missed = [name for name, answers in report.answers.items() if not answers[2]]
        assert len(missed) < len(report.answers) / 8, missed
    assert not report.findings, "\n\n".join(report.findings)
