"""/manage/docs: the description of the API as a page, from this service alone: no other host, no inline script."""

from collections.abc import Callable
from importlib.resources import files

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

blueprint = Blueprint("docs", __name__, url_prefix="/manage/docs")
_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>llm-proxy management API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#page", deepLinking: true, docExpansion: "none", validatorUrl: null, filter: true,
});
"""


def _for_everybody[View: Callable[..., Response]](view: View) -> View:
    view.is_open = True  # type: ignore[attr-defined]
    return view


@blueprint.get("")
@_for_everybody
def page() -> Response:
    """The page."""
    return _answer(_PAGE, "text/html")


@blueprint.get("/start.js")
@_for_everybody
def start() -> Response:
    """What begins it."""
    return _answer(_START, "text/javascript")


@blueprint.get("/<name>")
@_for_everybody
def asset(name: str) -> Response:
    """A part of it."""
    if name not in _ASSETS:
        raise NotFound
    return _answer(files("flask_swagger_ui").joinpath("dist", name).read_bytes(), _ASSETS[name])


def _answer(body: str | bytes, kind: str) -> Response:
    charset = "" if kind.startswith("image/") else "; charset=utf-8"
    headers = {"content-security-policy": _POLICY, "referrer-policy": "no-referrer"}
    return Response(body, 200, headers, content_type=f"{kind}{charset}")
