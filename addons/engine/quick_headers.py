"""A quicker look into mitmproxy's headers, which rooms and layers do some sixty times for each request.

mitmproxy calls three functions for each field of each look. This does the same with none.
"""

from mitmproxy.http import Headers


def get_all(self: Headers, name: str | bytes) -> list[str]:
    """Return what `mitmproxy.http.Headers.get_all` returns: the values of all fields of a name, whatever its case."""
    wanted = (name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")).lower()
    return [value.decode("utf-8", "surrogateescape") for field, value in self.fields if field.lower() == wanted]


def contains(self: Headers, name: str | bytes) -> bool:
    """Tell what `name in headers` tells."""
    wanted = (name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")).lower()
    return any([field.lower() == wanted for field, _ in self.fields])


def get_item(self: Headers, name: str | bytes) -> str:
    """Return what `headers[name]` returns: all values of a name, joined. Raises KeyError."""
    values = get_all(self, name)
    if not values:
        raise KeyError(name)
    return ", ".join(values)


def get[T](self: Headers, name: str | bytes, default: T | None = None) -> str | T | None:
    """Return what `headers.get(name, default)` returns."""
    values = get_all(self, name)
    return ", ".join(values) if values else default


def install() -> None:
    """Put them in mitmproxy's place, for the life of this process."""
    Headers.get_all = get_all  # type: ignore[method-assign]
    Headers.__contains__ = contains  # type: ignore[method-assign,assignment]
    Headers.get = get  # type: ignore[method-assign,assignment]
    Headers.__getitem__ = get_item  # type: ignore[method-assign,assignment]
