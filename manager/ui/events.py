"""/ui/events: what changes on a page while somebody looks at it, as server-sent events.

Each waits without keeping others from being served, and ends after a minute, with the server, and with the session or
a change of what somebody may see. There are so many at a time, and so many of a session; who finds none asks for the
page from time to time.

    change    the regions that have changed, see manager/ui/regions.py; none if only the trouble is over
    trouble   a sentence: nothing can be told at the moment
    over      load the page anew
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import redis
from flask import Flask, Response, current_app, g, request, stream_with_context
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import NotFound, ServiceUnavailable

from manager.current import principal
from manager.principals import Principal
from manager.rests import rest_of
from manager.ui import dashboard, live
from manager.ui.blueprint import blueprint
from manager.ui.regions import Differences, Region, TableRegion
from manager.ui.session import current, recognise
from manager.ui.streams import Seats, event, stream
from shared import logs

_SEATS = "llm_proxy_ui_seats"
_AWAY_SECONDS = 10

# Gives the regions of a page as they are now.
type Follow = Callable[[], Iterable[Region | TableRegion]]
_PAGES: Mapping[str, Callable[[Mapping[str, str]], Follow]] = {"dashboard": dashboard.follow, "live": live.follow}
log = logs.get("ui")


def teach(app: Flask) -> None:
    """Let the app know how many streams there are."""
    app.extensions[_SEATS] = Seats()


@blueprint.get("/events")
def events() -> Response:
    """Tell what changes on the page that the parameter `page` names, with the parameters of that page."""
    begin = _PAGES.get(request.args.get("page", ""))
    if begin is None:
        raise NotFound("There is no such page that changes.")
    follow = begin(request.args)
    seats: Seats = current_app.extensions[_SEATS]
    give_back = seats.take(current().id)
    if give_back is None:
        g.retry_after = _AWAY_SECONDS
        raise ServiceUnavailable("Too many pages are being watched.")
    told = stream(_told(principal(), follow), rest_of(request.environ))
    response = Response(stream_with_context(told), content_type="text/event-stream; charset=utf-8")
    response.call_on_close(give_back)
    # nginx would keep events back until there are many.
    response.headers["x-accel-buffering"] = "no"
    return response


def _told(who: Principal, follow: Follow) -> Iterator[str]:
    """Tell what has changed since the last time; at first, everything."""
    differences, is_troubled = Differences(), False
    while True:
        try:
            found = recognise()
            if found is None or found.principal != who:
                yield event("over")
                return
            changes = differences.of(follow())
        except (SQLAlchemyError, redis.RedisError) as error:
            log.warning("page_not_followed", reason=type(error).__name__)
            is_troubled = True
            yield event("trouble", "Not connected")
            continue
        yield event("change", changes) if changes or is_troubled else ""
        is_troubled = False
