"""A quicker look at mitmproxy's options, which its layers do several times for each request.

mitmproxy copies a value deeply whenever it is read. What cannot be changed needs no copy.
"""

from copy import deepcopy
from typing import Any

from mitmproxy.optmanager import _Option, unset

_UNCHANGEABLE = (bool, int, str, type(None))


def current(self: _Option) -> Any:
    """Return what mitmproxy's `_Option.current` returns."""
    value = self._default if self.value is unset else self.value
    return value if isinstance(value, _UNCHANGEABLE) else deepcopy(value)


def install() -> None:
    """Put it in mitmproxy's place, for the life of this process."""
    _Option.current = current  # type: ignore[method-assign]
