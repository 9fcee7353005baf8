"""Which providers of a table are where: by host and port, and by what stands before their routes' paths."""

from addons.credentials import destination
from shared.providers import ProviderTable


def plain_host(host: str) -> str:
    """Return a host as it is compared.

    >>> plain_host("API.OpenAI.com.")
    'api.openai.com'
    """
    return host.lower().removesuffix(".")


def providers_at(table: ProviderTable, host: str, port: int) -> frozenset[str]:
    """Return the names of the providers whose base URLs are at a host and port."""
    there = {name: destination(provider.base_url) for name, provider in table.providers.items()}
    return frozenset(name for name, at in there.items() if (plain_host(at.host), at.port) == (plain_host(host), port))


def names(table: ProviderTable) -> frozenset[str]:
    """Return the hosts of all providers."""
    return frozenset(plain_host(destination(provider.base_url).host) for provider in table.providers.values())


def addressed(table: ProviderTable, providers: frozenset[str], target: str) -> tuple[frozenset[str], str]:
    """Return who of these providers is meant by a request's target, and that target as routes are written.

    That is, without the path of their base URL; where several begin so, the longest counts.
    """
    prefixes = {name: destination(table.providers[name].base_url).prefix for name in providers}
    fitting = {prefix for prefix in prefixes.values() if target.startswith(prefix + "/")}
    if not fitting:
        return frozenset(), target
    longest = max(fitting, key=len)
    return frozenset(name for name in providers if prefixes[name] == longest), target.removeprefix(longest)
