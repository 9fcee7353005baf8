"""The whole product on a Cluster: whoever has its data may die, and nothing that was counted is forgotten."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.conftest import Installation, installed, until
from tests.redis_topologies import Cluster, cluster

# What runs the proxies makes no difference here.
pytestmark = pytest.mark.parametrize("runner", ["engine"], indirect=True, scope="session")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as made:
        made.add_replica(tmp_path / "replica")
        yield made


@pytest.fixture
def installation(nodes: Cluster, runner: str) -> Iterator[Installation]:
    with installed(runner=runner, redis_url=nodes.url()) as running:
        yield running


def test_requests_limits_usage_and_revocations_survive_the_owner_of_the_data(
    installation: Installation, nodes: Cluster
) -> None:
    token = installation.token(installation.project("cluster"), max_requests=4)
    assert [installation.send(token.secret, worker=worker).status_code for worker in (0, 1)] == [200, 200]
    installation.usage_of(token, 2)

    nodes.kill()

    # Until the replica has taken over, requests are refused, and not counted.
    until(lambda: installation.send(token.secret).status_code == 200)
    until(installation.is_published)
    assert installation.send(token.secret, worker=1).status_code == 200
    assert installation.send(token.secret).status_code == 429
    assert [row["status"] for row in installation.usage_of(token, 4)] == [200] * 4

    other = installation.token(token.project_id)
    assert installation.send(other.secret).status_code == 200
    installation.manage("DELETE", f"/manage/tokens/{other.id}")
    assert [installation.send(other.secret, worker=worker).status_code for worker in (0, 1)] == [401, 401]
