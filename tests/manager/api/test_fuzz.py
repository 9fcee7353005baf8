"""The service does what its description says: with a token, without one, on both databases."""

import pytest
import redis

from tests.manager.api.conftest import MANAGEMENT_TOKEN, Serve
from tests.manager.api.fuzzing import hold_to_its_word

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.parametrize("token", [MANAGEMENT_TOKEN, None], ids=["with token", "without"])
def test_schemathesis_finds_nothing(
    serve: Serve,
    database_url: str,
    redis_client: redis.Redis,
    valkey_url: str,
    pytestconfig: pytest.Config,
    token: str | None,
) -> None:
    patient = {"LLM_PROXY_MAX_TOKEN_LIFETIME": "P36500D", "LLM_PROXY_API_RATE": "1000000 per second"}
    app = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, **patient)

    report = hold_to_its_word(app, token, pytestconfig.getoption("fuzz_examples"))

    assert not report.findings, "\n\n".join(report.findings)
