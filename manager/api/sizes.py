"""How much some views take: more than the others, and no more than they say by `most_bytes`."""

from flask import Flask, current_app, request


def allow(app: Flask) -> None:
    """Let larger bodies in where a view takes them. To be called before anything looks at bodies."""

    def widen() -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        most: int | None = getattr(getattr(view, "view_class", view), "most_bytes", None)
        if most is not None:
            request.max_content_length = request.max_form_memory_size = most

    app.before_request(widen)
