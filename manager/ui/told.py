"""What was done, told on the next page: also that it will take effect later, because Redis is away."""

from collections.abc import Callable
from typing import Any

from flask import flash

from manager.publishing import PublishError
from shared import logs

LATER = "It will reach the proxy as soon as Redis is back."
log = logs.get("ui")


def told(text: str, act: Callable[[], Any]) -> None:
    """Do something that is stored and then published, and tell it. Raises whatever `act` does before it is stored."""
    try:
        act()
    except PublishError as error:
        log.error("publish_pending", reason=str(error))
        flash(f"{text} {LATER}", "warning")
    else:
        flash(text, "success")
