"""Rules of the settings about people: what needs what, and that nothing else is needed."""

import pytest

from manager.people import People
from manager.tallies import MemoryTallies
from shared.settings import SettingsError
from tests.manager.conftest import SettingsOf

ISSUER = {"LLM_PROXY_OIDC_ISSUER": "https://login.example.org"}
CLIENT = {"LLM_PROXY_OIDC_CLIENT_ID": "admin-ui"}
SECRET = {"LLM_PROXY_OIDC_CLIENT_SECRET": "the-secret-of-the-client"}


@pytest.mark.parametrize(
    ("variables", "is_known", "may_sign_in"),
    [({}, False, False), (ISSUER, True, False), (ISSUER | CLIENT, True, True), (ISSUER | CLIENT | SECRET, True, True)],
    ids=["nobody", "issuer", "public", "confidential"],
)
def test_the_settings_say_what_people_may(
    settings_of: SettingsOf, variables: dict[str, str], is_known: bool, may_sign_in: bool
) -> None:
    people = People.of(settings_of(**variables), MemoryTallies())

    assert (people is not None, people is not None and people.flow is not None) == (is_known, may_sign_in)


@pytest.mark.parametrize(
    ("variables", "faults"),
    [
        (CLIENT, {"LLM_PROXY_OIDC_CLIENT_ID": ["needs LLM_PROXY_OIDC_ISSUER"]}),
        (ISSUER | SECRET, {"LLM_PROXY_OIDC_CLIENT_SECRET": ["needs LLM_PROXY_OIDC_CLIENT_ID"]}),
        (SECRET, {"LLM_PROXY_OIDC_CLIENT_SECRET": ["needs LLM_PROXY_OIDC_CLIENT_ID"]}),
    ],
    ids=["client", "secret", "secret-alone"],
)
def test_what_does_nothing_by_itself_is_a_fault(
    settings_of: SettingsOf, variables: dict[str, str], faults: dict[str, list[str]]
) -> None:
    with pytest.raises(SettingsError) as caught:
        People.of(settings_of(**variables), MemoryTallies())

    assert caught.value.faults == faults
