"""A quicker look into mitmproxy's headers, which rooms and layers do some sixty times for each request.

mitmproxy goes through all fields for each look, and calls three functions for each field. Here the first look makes an
index, which counts for as long as the fields are the same tuple: whoever changes headers replaces that.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import chain, repeat

from mitmproxy.http import Headers

_INDEX = "_llm_proxy_index"

type Fields = tuple[tuple[bytes, bytes], ...]


@lru_cache(maxsize=1024)
def _key(name: str | bytes) -> bytes:
    return (name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")).lower()


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def _index(headers: Headers) -> dict[bytes, bytes]:
    fields = headers.fields
    kept: tuple[Fields, dict[bytes, bytes]] | None = headers.__dict__.get(_INDEX)
    if kept is not None and kept[0] is fields:
        return kept[1]
    index = {name.lower(): value for name, value in fields}
    if len(index) < len(fields):
        index = _joined(fields)
    headers.__dict__[_INDEX] = (fields, index)
    return index


def _joined(fields: Fields) -> dict[bytes, bytes]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        values.setdefault(name.lower(), []).append(value)
    return {name: b", ".join(of_name) for name, of_name in values.items()}


def get_all(self: Headers, name: str | bytes) -> list[str]:
    """Return what `mitmproxy.http.Headers.get_all` returns: the values of all fields of a name, whatever its case."""
    key = _key(name)
    if key not in _index(self):
        return []
    return [value.decode("utf-8", "surrogateescape") for own, value in self.fields if own.lower() == key]


def contains(self: Headers, name: str | bytes) -> bool:
    """Tell what `name in headers` tells."""
    return _key(name) in _index(self)


def get_item(self: Headers, name: str | bytes) -> str:
    """Return what `headers[name]` returns: all values of a name, joined. Raises KeyError."""
    value = _index(self).get(_key(name))
    if value is None:
        raise KeyError(name)
    return value.decode("utf-8", "surrogateescape")


def get[T](self: Headers, name: str | bytes, default: T | None = None) -> str | T | None:
    """Return what `headers.get(name, default)` returns."""
    value = _index(self).get(_key(name))
    return default if value is None else value.decode("utf-8", "surrogateescape")


def set_all(self: Headers, name: str | bytes, values: Iterable[str | bytes]) -> None:
    """Do what `headers.set_all(name, values)` does: new values take the places of the old ones, the rest is added."""
    own, key, index = _bytes(name), _key(name), _index(self)
    fresh = [_bytes(value) for value in values]
    fields, rest = (self.fields, fresh) if key not in index else _replaced(self.fields, key, fresh)
    self.fields = (*fields, *[(own, value) for value in rest])
    # The index goes along, which is cheaper than another one.
    if fresh:
        index[key] = b", ".join(fresh)
    else:
        index.pop(key, None)
    self.__dict__[_INDEX] = (self.fields, index)


def _replaced(fields: Fields, key: bytes, values: list[bytes]) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    """Return the fields with values in the places of the old ones of a name, and the values that found no place."""
    replaced, rest = [], values.copy()
    for field in fields:
        if field[0].lower() != key:
            replaced.append(field)
        elif rest:
            replaced.append((field[0], rest.pop(0)))
    return replaced, rest


def init(self: Headers, fields: Iterable[tuple[bytes, bytes]] = (), **headers: str | bytes) -> None:
    """Do what `Headers(fields, **headers)` does. Raises TypeError for fields that are not bytes."""
    self.fields = tuple([(name, value) for name, value in fields])
    if not all(map(isinstance, chain.from_iterable(self.fields), repeat(bytes))):
        raise TypeError("Header fields must be bytes.")
    for word, text in headers.items():
        set_all(self, _bytes(word).replace(b"_", b"-"), [text])


def install() -> None:
    """Put them in mitmproxy's place, for the life of this process."""
    Headers.get_all = get_all  # type: ignore[method-assign]
    Headers.__contains__ = contains  # type: ignore[method-assign,assignment]
    Headers.get = get  # type: ignore[method-assign,assignment]
    Headers.__getitem__ = get_item  # type: ignore[method-assign,assignment]
    Headers.set_all = set_all  # type: ignore[method-assign]
    Headers.__init__ = init  # type: ignore[method-assign]
