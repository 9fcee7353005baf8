"""Addresses that pages show: where applications find the proxy, and people and programs the manager and mitmweb."""

from flask import request

from manager.current import services


def proxy_url() -> str:
    """Return where applications find the proxy, without a slash at the end; a provider's own path comes behind it."""
    return services().settings.public_url


def manager_url() -> str:
    """Return where the manager is found, without a slash at the end: as it was set, else where this page was asked for.

    To be shown only: what a request says of its host is not to be relied on.
    """
    return services().settings.manager_url or request.host_url.rstrip("/")


def in_mitmweb(request_id: str) -> str:
    """Return where a request is looked at in mitmweb."""
    return f"{services().settings.inspector_url}/#/flows/{request_id}/request"
