"""What is refused: a token that nobody knows, and one whose requests are used up."""

from functools import partial

from manager import local_http
from shared import tokens
from tests.bench import answers, closed_loop
from tests.bench.burst import Burst
from tests.bench.endpoint import Endpoint
from tests.bench.scenario import Scenario
from tests.bench.scenarios.chats import SMALL_JSON
from tests.bench.stage import Stage

_BODY = answers.request_body(answers.json_model(answers.SMALL))


def _unknown(stage: Stage) -> str:
    """A token in good form, so that Redis has to be asked."""
    return tokens.generate()


def _used_up(stage: Stage) -> str:
    """A token whose only request has been made by a caller before."""
    return stage.services.token(max_requests=1)


_CASES = {401: _unknown, 429: _used_up}


def _rejects(status: int, stage: Stage, subject: str, seconds: float) -> Burst:
    endpoint = stage.endpoint(subject).with_token(_CASES[status](stage))
    if status == 429:
        _status(endpoint)
    if (found := _status(endpoint)) != status:
        return Burst({}, 1, f"answered {found} instead of {status}")
    return closed_loop.burst(stage.services.provider, endpoint, _BODY, 16, seconds, refused=True)


def _status(endpoint: Endpoint) -> int:
    with local_http.session() as session:
        return session.post(endpoint.url, data=_BODY, headers=endpoint.headers, timeout=30).status_code


REJECTS = tuple(
    Scenario(
        f"reject-{status}",
        SMALL_JSON,
        ("engine", "mitmdump-addons"),
        partial(_rejects, status),
        quick_subjects=("engine",),
    )
    for status in _CASES
)
