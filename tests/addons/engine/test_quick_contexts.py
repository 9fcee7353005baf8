"""Quick beginnings are mitmproxy's beginnings."""

import uuid
from collections.abc import Iterator

import pytest
import uuid_utils
from mitmproxy import connection, flow
from mitmproxy.options import Options
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.test import tflow

from addons.engine import quick_contexts


@pytest.fixture
def context() -> Context:
    made = Context(tflow.tclient_conn(), Options())
    NextLayer(made)
    return made


def test_a_fork_is_as_mitmproxy_makes_it(context: Context) -> None:
    assert vars(quick_contexts.fork(context)) == vars(context.fork())


def test_a_fork_has_layers_of_its_own(context: Context) -> None:
    quick_contexts.fork(context).layers.append(NextLayer(context))

    assert len(context.layers) == len(context.fork().layers)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as kept:
        for target, name in ((Context, "fork"), (connection, "uuid"), (flow, "uuid")):
            kept.setattr(target, name, getattr(target, name))
        quick_contexts.install()
        yield


def test_ids_are_random_uuids_in_mitmproxys_form(installed: None) -> None:
    ids = {each.id for each in (*(connection.Server(address=None) for _ in range(100)), tflow.tflow(), tflow.tflow())}

    assert {uuid.UUID(each).version for each in ids} == {4} and len(ids) == 102
    assert all(str(uuid.UUID(each)) == each for each in ids)
    assert connection.uuid.uuid4 is uuid_utils.uuid4  # type: ignore[attr-defined]
