"""People whom an OpenID Connect issuer vouches for: by tokens that they bring, and as they sign in to the admin UI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manager.authentication import Issuer
from manager.tallies import Tallies
from shared.settings import Settings, SettingsError

if TYPE_CHECKING:
    from manager.oidc_flow import CodeFlow


@dataclass(frozen=True)
class People:
    """Who knows them. Without a `flow` nobody signs in to the UI so."""

    issuer: Issuer
    flow: CodeFlow | None

    @classmethod
    def of(cls, settings: Settings, tallies: Tallies) -> People | None:
        """Return what the settings say; None if there is no issuer. Raises SettingsError."""
        _check(settings)
        if not settings.oidc_issuer:
            return None
        try:
            from manager.issuer_keys import IssuerKeys
            from manager.oidc import ID_TOKENS, Claims, Oidc
            from manager.oidc_attempts import Attempts
            from manager.oidc_exchange import Client
            from manager.oidc_flow import CodeFlow
        except ImportError:
            raise SettingsError({"LLM_PROXY_OIDC_ISSUER": ["needs the extra `oidc`, which is not installed"]}) from None
        issuer, client_id = settings.oidc_issuer, settings.oidc_client_id
        keys, rules = IssuerKeys(issuer), (settings.oidc_role_claim, settings.oidc_roles)
        bearers = Oidc(Claims(issuer, settings.oidc_audience, *rules), keys)
        if not client_id:
            return cls(bearers, None)
        client = Client(issuer, client_id, settings.oidc_scopes, settings.oidc_client_secret)
        attempts = Attempts(settings.token_pepper, f"{issuer}\n{client_id}", tallies)
        return cls(bearers, CodeFlow(client, keys, Oidc(Claims(issuer, client_id, *rules, ID_TOKENS), keys), attempts))


def _check(settings: Settings) -> None:
    needs = {
        "LLM_PROXY_OIDC_CLIENT_ID": (settings.oidc_client_id, "LLM_PROXY_OIDC_ISSUER", settings.oidc_issuer),
        "LLM_PROXY_OIDC_CLIENT_SECRET": (
            settings.oidc_client_secret,
            "LLM_PROXY_OIDC_CLIENT_ID",
            settings.oidc_client_id,
        ),
    }
    if faults := {name: [f"needs {other}"] for name, (value, other, there) in needs.items() if value and not there}:
        raise SettingsError(faults)
