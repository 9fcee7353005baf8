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
    app = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_MAX_TOKEN_LIFETIME="P36500D")

    report = hold_to_its_word(app, token, pytestconfig.getoption("fuzz_examples"))

    assert not report.findings, "\n\n".join(report.findings)
