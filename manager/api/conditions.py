"""ETag, If-Match and If-None-Match: views tell the state of what they show, and ask what a change was made for."""

from flask import Flask, Response, g, request

from manager import etags


def expected() -> etags.Expected:
    """Return what the caller expects of what is to be changed."""
    return etags.Expected(request.headers.get("if-match"))


def show(state: str) -> None:
    """Tell the state of what is going to be answered."""
    g.shown_state = state


def mark(app: Flask) -> None:
    """Give answers that show one thing their ETag, and answer 304 to those who know it."""

    def add_tag(response: Response) -> Response:
        state = g.pop("shown_state", None)
        if state is None or response.status_code not in (200, 201):
            return response
        current = etags.tag(state, response.get_data())
        response.headers["etag"] = current
        known = request.headers.get("if-none-match")
        if request.method in ("GET", "HEAD") and known is not None and etags.is_known(known, current):
            unchanged = Response(status=304, headers={"etag": current})
            unchanged.headers.pop("content-type", None)
            return unchanged
        return response

    app.after_request(add_tag)
