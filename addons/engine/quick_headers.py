"""A quicker look into mitmproxy's headers, which rooms and layers do some sixty times for each request.

mitmproxy goes through all fields for each look, and calls three functions for each field. Here the first look makes an
index, which counts for as long as the fields are the same tuple: whoever changes headers replaces that. What is changed
here changes the index, too.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import chain, repeat

from mitmproxy.http import Headers

_INDEX = "_llm_proxy_index"

type Fields = tuple[tuple[bytes, bytes], ...]
type Index = dict[bytes, tuple[bytes, ...]]


@lru_cache(maxsize=1024)
def _key(name: str | bytes) -> bytes:
    return (name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")).lower()


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _known_index(headers: Headers) -> Index | None:
    kept: tuple[Fields, Index] | None = headers.__dict__.get(_INDEX)
    return kept[1] if kept is not None and kept[0] is headers.fields else None


def _index(headers: Headers) -> Index:
    kept: tuple[Fields, Index] | None = headers.__dict__.get(_INDEX)
    if kept is not None and kept[0] is headers.fields:
        return kept[1]
    fields = headers.fields
    index: Index = {name.lower(): (value,) for name, value in fields}
    if len(index) < len(fields):  # Some name comes more than once.
        index = {key: tuple([value for name, value in fields if name.lower() == key]) for key in index}
    headers.__dict__[_INDEX] = (fields, index)
    return index


def _change(headers: Headers, fields: Fields, key: bytes, values: tuple[bytes, ...]) -> None:
    """Put other fields there, of which only those of one name differ: what else the index says stays true."""
    index = _known_index(headers)
    headers.fields = fields
    if index is not None:
        if values:
            index[key] = values
        else:
            index.pop(key, None)
        headers.__dict__[_INDEX] = (fields, index)


def get_all(self: Headers, name: str | bytes) -> list[str]:
    """Return what `mitmproxy.http.Headers.get_all` returns: the values of all fields of a name, whatever its case."""
    return [_text(value) for value in _index(self).get(_key(name), ())]


def contains(self: Headers, name: str | bytes) -> bool:
    """Tell what `name in headers` tells."""
    return _key(name) in _index(self)


def get_item(self: Headers, name: str | bytes) -> str:
    """Return what `headers[name]` returns: all values of a name, joined. Raises KeyError."""
    values = _index(self).get(_key(name))
    if not values:
        raise KeyError(name)
    return _text(values[0]) if len(values) == 1 else ", ".join([_text(value) for value in values])


def get[T](self: Headers, name: str | bytes, default: T | None = None) -> str | T | None:
    """Return what `headers.get(name, default)` returns."""
    values = _index(self).get(_key(name))
    if not values:
        return default
    return _text(values[0]) if len(values) == 1 else ", ".join([_text(value) for value in values])


def set_all(self: Headers, name: str | bytes, values: Iterable[str | bytes]) -> None:
    """Do what `headers.set_all(name, values)` does: new values take the places of the old ones, the rest is added."""
    own, key = _bytes(name), _key(name)
    fresh = tuple([_bytes(value) for value in values])
    rest = list(fresh)
    fields: list[tuple[bytes, bytes]] = []
    for field in self.fields:
        if field[0].lower() != key:
            fields.append(field)
        elif rest:
            fields.append((field[0], rest.pop(0)))
    _change(self, (*fields, *[(own, value) for value in rest]), key, fresh)


def set_item(self: Headers, name: str | bytes, value: str | bytes) -> None:
    """Do what `headers[name] = value` does."""
    key, index = _key(name), _known_index(self)
    if index is None or key in index:
        set_all(self, name, [value])
    else:
        own, new = _bytes(name), _bytes(value)
        _change(self, (*self.fields, (own, new)), key, (new,))


def delete(self: Headers, name: str | bytes) -> None:
    """Do what `del headers[name]` does. Raises KeyError."""
    key = _key(name)
    if key not in _index(self):
        raise KeyError(name)
    _change(self, tuple([field for field in self.fields if field[0].lower() != key]), key, ())


def as_bytes(self: Headers) -> bytes:
    """Return what `bytes(headers)` returns: the fields as HTTP/1 writes them."""
    return b"".join([b"%b: %b\r\n" % field for field in self.fields])


def init(self: Headers, fields: Iterable[tuple[bytes, bytes]] = (), **headers: str | bytes) -> None:
    """Do what `Headers(fields, **headers)` does. Raises TypeError for fields that are not bytes."""
    self.fields = tuple(map(tuple, fields))  # type: ignore[arg-type]
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
    Headers.__setitem__ = set_item  # type: ignore[method-assign,assignment]
    Headers.__bytes__ = as_bytes  # type: ignore[method-assign]
    Headers.__delitem__ = delete  # type: ignore[method-assign]
    Headers.__init__ = init  # type: ignore[method-assign]
