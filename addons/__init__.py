"""The data plane: mitmproxy addons, one concern each. Read main.py first; its ordered list is the architecture."""
