"""What all answers below /ui have in common: what a browser may load, and that errors are pages."""

from flask import Flask, Response, g, make_response, render_template, request

from manager.api import problems
from manager.api.access import is_below

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_KEPT = ("allow", "retry-after")
_NO_PAGE = "There is no page at this address."
_FAULTY = "Some of what was sent cannot be taken:"
# What to do about it, where that can be said.
_ADVICE = {
    400: "Go back, reload the page and try again.",
    401: "Sign in again.",
    403: "Ask an admin if you need it.",
    404: "It may have been deleted, or lie outside of what you may see.",
    405: "Go back and use the form of the page.",
    412: "Reload the page to see what it is now.",
    429: "Wait a moment, then reload the page.",
    500: "Try again; if it stays so, look for the request id in the manager's log.",
    503: "Wait a moment, then reload the page. The status page tells what is away.",
}


def dress(app: Flask) -> None:
    """Make pages of problem documents, and mark all answers. To be called last, so that it comes first."""

    def dressed(response: Response) -> Response:
        if not is_below("/ui"):
            return response
        if response.mimetype == problems.MEDIA_TYPE:
            response = _page(response)
        response.headers.update(_HEADERS)
        return response

    app.after_request(dressed)


def _page(response: Response) -> Response:
    g.problem = response.get_json()
    status = response.status_code
    detail = g.problem["detail"]
    # These two are made for programs.
    if status == 404 and request.endpoint is None:
        detail = _NO_PAGE
    elif "errors" in g.problem:
        detail = _FAULTY
    page = make_response(
        render_template("error.html", problem={**g.problem, "detail": detail}, advice=_ADVICE.get(status, "")), status
    )
    page.headers.extend({name: response.headers[name] for name in _KEPT if name in response.headers})
    return page
