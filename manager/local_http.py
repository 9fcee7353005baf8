"""HTTP to the parts of this machine: straight to them, whatever proxies or passwords the environment names."""

import requests


def session() -> requests.Session:
    """Return a session that heeds neither `http_proxy` nor `.netrc`: both would see or replace our tokens."""
    made = requests.Session()
    made.trust_env = False
    return made
