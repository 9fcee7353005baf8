"""Styles, scripts and icons: our own and Bootstrap's, compressed once, under addresses that change with what they hold.

All of them have the hash of all of them together in their address, so that modules find each other by relative paths.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import NotFound

from manager.ui import icons
from manager.ui.blueprint import for_everybody

blueprint = Blueprint("assets", __name__, url_prefix="/ui/assets")
_KINDS = {"css": "text/css", "js": "text/javascript", "mjs": "text/javascript", "svg": "image/svg+xml"}
_BOOTSTRAP = {
    "css/bootstrap.css": "css/bootstrap.min.css",
    "js/popper.js": "umd/popper.min.js",
    "js/bootstrap.js": "js/bootstrap.min.js",
}
# Maps for debuggers are left at home.
_MAP = re.compile(rb"\n?(//# sourceMappingURL=\S+|/\*# sourceMappingURL=\S+ \*/)\s*\Z")
_VERSION_LENGTH = 16
_FOR_GOOD = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """A file as it is sent."""

    body: bytes
    zipped: bytes
    content_type: str


def teach(app: Flask) -> None:
    """Let templates name assets and icons."""
    app.jinja_env.globals["asset"] = address
    app.jinja_env.globals["icon"] = lambda name, label="": icons.shown(address("icons.svg"), name, label)


def address(name: str) -> str:
    """Return the path of an asset. Raises KeyError if there is none of this name."""
    version, known = _assets()
    if name not in known:
        raise KeyError(f"there is no asset {name}")
    return f"{blueprint.url_prefix}/{version}/{name}"


@blueprint.get("/<version>/<path:name>")
@for_everybody
def asset(version: str, name: str) -> Response:
    """An asset. Under the address of another release it is shown, but not kept."""
    current, known = _assets()
    if name not in known:
        raise NotFound
    found = known[name]
    is_zipped = request.accept_encodings["gzip"] > 0
    response = Response(found.zipped if is_zipped else found.body, content_type=found.content_type)
    response.headers["vary"] = "accept-encoding"
    response.headers["cache-control"] = _FOR_GOOD if version == current else "no-store"
    if is_zipped:
        response.headers["content-encoding"] = "gzip"
    return response


@cache
def _assets() -> tuple[str, dict[str, Asset]]:
    """Return the version of all assets, and each of them by its name."""
    bootstrap = files("flask_bootstrap").joinpath("static", "bootstrap5")
    bodies = {name: bootstrap.joinpath(*path.split("/")).read_bytes() for name, path in _BOOTSTRAP.items()}
    bodies |= dict(_own(files("manager.ui").joinpath("static"), ""))
    bodies["icons.svg"] = icons.sprite(bootstrap.joinpath("icons", "bootstrap-icons.svg").read_text())
    bodies = {name: _MAP.sub(b"", body) for name, body in sorted(bodies.items())}
    version = hashlib.sha256(b"".join(hashlib.sha256(body).digest() for body in bodies.values())).hexdigest()
    return version[:_VERSION_LENGTH], {name: _asset(name, body) for name, body in bodies.items()}


def _own(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _own(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _KINDS:
            found.append((prefix + entry.name, entry.read_bytes()))
    return found


def _asset(name: str, body: bytes) -> Asset:
    content_type = f"{_KINDS[name.rpartition('.')[2]]}; charset=utf-8"
    return Asset(body, gzip.compress(body, 9, mtime=0), content_type)
