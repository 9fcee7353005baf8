"""How the addons are run: what mitmproxy itself does not offer to a server with several workers."""
