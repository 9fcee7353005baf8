"""What Redis says beside what SQL says, batch by batch: each kind of record has a function that tells the differences.

Counters of requests may be ahead of SQL, which learns of them later, but never behind. When a token was last used is
not compared: Redis and the workers each tell it by their own clock. Nothing here writes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import redis
import sqlalchemy as sa
from redis.client import Pipeline
from sqlalchemy.orm import Session

from manager import flow_rules, prices, publications, published
from manager.tables import Project, Token, UpstreamKey
from shared import limits_schema, redis_schema
from shared.models import Scope
from shared.prices import encode_table
from shared.rules_schema import RULES, encode_rules

# One glob for the keys of tokens, identities, projects and what they have used; the others that it lets in are few.
RECORDS = redis_schema.PREFIX + "[tipu][odrs][keo]*"
# Something like a field of each record: when Redis forgets it, in ms.
_EXPIRY = b"expiry"
_FOR_EVER = -1
# No version is larger in SQL.
_MOST = 2**31 - 1
_SHARED = redis_schema.used_key(Scope.GLOBAL)
_TYPES = {
    redis_schema.EPOCH: b"string",
    redis_schema.GLOBAL_LIMITS: b"string",
    redis_schema.PRICES: b"string",
    RULES: b"string",
    redis_schema.CORS_ORIGINS: b"set",
    redis_schema.BREAKERS: b"hash",
    _SHARED: b"hash",
}
_KEY_SUBJECT = redis_schema.key_subject("")

type Fields = dict[bytes, bytes]
_NO_HASH: Fields = {b"version": b""}


@dataclass(frozen=True)
class Difference:
    """One thing that differs: `problem` is missing, stale, newer, changed, behind, damaged, purged, orphan or leftover.

    `id` is that of the row, or the key's name if there is none; `fields` are the names of those that differ.
    """

    kind: str
    id: str
    problem: str
    fields: tuple[str, ...] = ()


def text(name: bytes) -> str:
    """Return a name of Redis as text, also one that is no UTF-8; see raw."""
    return name.decode(errors="surrogateescape")


def raw(name: str) -> bytes:
    """Return the name of Redis that `text` made a text of."""
    return name.encode(errors="surrogateescape")


def of_tokens(client: "redis.Redis", rows: Sequence[Token], now: datetime) -> list[Difference]:
    """Compare the records of tokens, what is known of them by their ids, and the ways from secrets they had."""
    expected = [redis_schema.encode_token(published.published_token(row)) for row in rows]
    with client.pipeline(transaction=False) as pipeline:
        for keys, _ in expected:
            for key in (keys[0], keys[2], keys[3]):
                pipeline.hgetall(key)
                pipeline.pexpiretime(key)
            pipeline.pexpiretime(keys[1])
        found = answers(pipeline)
    differences = []
    for row, (keys, arguments), at in zip(rows, expected, range(0, len(found), 7), strict=True):
        records = [_record(*found[at + i : at + i + 2]) for i in (0, 2, 4)]
        difference = _of_token(row, keys, arguments, records, now)
        differences.append(difference or _of_use(row, found[at + 6], int(arguments[5])))
    return [difference for difference in differences if difference]


def of_projects(client: "redis.Redis", rows: Sequence[Project]) -> list[Difference]:
    """Compare the records of projects."""
    expected = [redis_schema.encode_project(published.published_project(row)) for row in rows]
    with client.pipeline(transaction=False) as pipeline:
        for [key], _ in expected:
            pipeline.hgetall(key)
            pipeline.pexpiretime(key)
        found = answers(pipeline)
    differences = [
        _compared("project", row, _record(*found[at : at + 2]), _pairs([*arguments[3:], _EXPIRY, _FOR_EVER]))
        for row, (_, arguments), at in zip(rows, expected, range(0, len(found), 2), strict=True)
    ]
    return [difference for difference in differences if difference]


def of_the_rest(client: "redis.Redis", session: Session) -> list[Difference]:
    """Compare what there is once: the limits of everything together, prices, rules, the origins of all projects."""
    limits = limits_schema.encode_limits(publications.global_limits(session))
    with client.pipeline(transaction=False) as pipeline:
        pipeline.get(redis_schema.GLOBAL_LIMITS)
        pipeline.get(redis_schema.PRICES)
        pipeline.get(RULES)
        pipeline.smembers(redis_schema.CORS_ORIGINS)
        told = answers(pipeline)
    # What is damaged is told by of_types.
    kinds = [
        ("limits", redis_schema.GLOBAL_LIMITS, (told[0] or b"") == limits),
        ("prices", redis_schema.PRICES, told[1] == encode_table(prices.table(session))),
        ("rules", RULES, told[2] == encode_rules(flow_rules.published(session))),
        ("origins", redis_schema.CORS_ORIGINS, _origins(told[3]) == set(published.cors_origins(session))),
    ]
    return [
        Difference(kind, key, "changed")
        for (kind, key, is_same), answer in zip(kinds, told, strict=True)
        if not is_same and not isinstance(answer, redis.RedisError)
    ]


def of_types(client: "redis.Redis") -> list[Difference]:
    """Tell which of the keys that there are once are of another type than they have to be."""
    with client.pipeline(transaction=False) as pipeline:
        for key in _TYPES:
            pipeline.type(key)
        found = pipeline.execute()
    wrong = [
        key for (key, expected), kind in zip(_TYPES.items(), found, strict=True) if kind not in (b"none", expected)
    ]
    return [Difference("key", key, "damaged") for key in wrong]


def of_keys(session: Session, names: Iterable[bytes], now: datetime) -> list[Difference]:
    """Tell which keys of Redis belong to nothing that SQL knows."""
    by_kind: dict[str, dict[str, str]] = {"token": {}, "identity": {}, "project": {}, "used": {}}
    for key in map(text, names):
        kind, _, rest = key.removeprefix(redis_schema.PREFIX).partition(":")
        if rest and kind in by_kind and key != _SHARED:
            by_kind[kind][rest] = key
    ids = [*by_kind["identity"], *by_kind["project"], *(rest.partition(":")[2] for rest in by_kind["used"])]
    known_ids, digests = _known_ids(session, ids), _known_digests(session, list(by_kind["token"]), now)
    strange = [Difference("token", name, "orphan") for rest, name in by_kind["token"].items() if rest not in digests]
    for kind in ("identity", "project", "used"):
        for rest, name in by_kind[kind].items():
            if (rest.partition(":")[2] if kind == "used" else rest) not in known_ids:
                strange.append(Difference(kind, name, "orphan"))
    return strange


def of_used(session: Session, fields: Iterable[bytes]) -> list[Difference]:
    """Tell which fields count what projects have used that SQL does not know."""
    # `<project id>:<measure>:<window>`; those of everything together have no id.
    owned = {text(field): text(field).split(":")[0] for field in fields if field.count(b":") == 2}
    known = _known_ids(session, set(owned.values()))
    return [Difference("usage", field, "leftover") for field, owner in owned.items() if owner not in known]


def of_breakers(session: Session, fields: Iterable[bytes]) -> list[Difference]:
    """Tell which breakers are of keys that are gone or switched off."""
    subjects = [text(field) for field in fields if field.startswith(_KEY_SUBJECT.encode())]
    ids = _uuids(subject.removeprefix(_KEY_SUBJECT) for subject in subjects)
    query = sa.select(UpstreamKey.id).where(UpstreamKey.id.in_(ids), UpstreamKey.is_active)
    known = {redis_schema.key_subject(str(key_id)) for key_id in session.scalars(query)}
    return [Difference("breaker", subject, "leftover") for subject in subjects if subject not in known]


def _of_token(
    row: Token, keys: list[str], arguments: list[Any], found: Sequence[Fields], now: datetime
) -> Difference | None:
    record, identity, previous = found
    if b"purged" in identity:
        return Difference("token", str(row.id), "purged")
    ends = {_EXPIRY: _bytes(arguments[5])}
    fields = _pairs(arguments[8:]) | {b"is_active": _bytes(arguments[7])} | ends
    if difference := _compared("token", row, record, fields):
        return difference
    if not all(_is_number(record.get(name, b""), 2**63) for name in (b"requests", b"last_used_at")):
        return Difference("token", str(row.id), "damaged")
    if int(record[b"requests"]) < row.request_count:
        return Difference("token", str(row.id), "changed", ("requests",))
    known = {b"version": _bytes(row.version), b"record": keys[0].encode(), b"is_active": _bytes(arguments[7])}
    if difference := _compared("identity", row, identity, known | ends):
        return difference
    if keys[3] == keys[0] or row.previous_until is None or row.previous_until <= now:
        return None
    leads = {name: _bytes(arguments[6]) for name in (b"moved_until", _EXPIRY)} | {b"moved_to": keys[0].encode()}
    return _compared("alias", row, previous, leads, versioned=False)


def _of_use(row: Token, forgotten: int, forget_at: int) -> Difference | None:
    # A request that was running when the token's end changed may have put it off once more, which does no harm.
    is_kept = forgotten not in range(_FOR_EVER, forget_at)
    return None if is_kept else Difference("token_counters", str(row.id), "changed", (_EXPIRY.decode(),))


def _compared(
    kind: str, row: Token | Project, found: Fields, expected: Fields, versioned: bool = True
) -> Difference | None:
    if b"purged" in found:
        return Difference(kind, str(row.id), "purged")
    if not found:
        return Difference(kind, str(row.id), "missing")
    version = found.get(b"version", b"")
    if not _is_number(version, _MOST):
        return Difference(kind, str(row.id), "damaged")
    if versioned and int(version) != row.version:
        return Difference(kind, str(row.id), "stale" if int(version) < row.version else "newer")
    wrong = [name.decode() for name, value in expected.items() if found.get(name) != value]
    return Difference(kind, str(row.id), "changed", tuple(sorted(wrong))) if wrong else None


def _known_ids(session: Session, ids: Iterable[str]) -> set[str]:
    wanted = _uuids(ids)
    found = [*session.scalars(sa.select(Token.id).where(Token.id.in_(wanted)))]
    found += session.scalars(sa.select(Project.id).where(Project.id.in_(wanted)))
    return {str(known) for known in found}


def _known_digests(session: Session, names: Sequence[str], now: datetime) -> set[str]:
    # PostgreSQL takes no other text, and no digest is one.
    digests = [name for name in names if name.isascii() and name.isprintable()]
    known = set(session.scalars(sa.select(Token.digest).where(Token.digest.in_(digests))))
    replaced = sa.select(Token.previous_digest).where(Token.previous_digest.in_(digests), Token.previous_until > now)
    return known | {digest for digest in session.scalars(replaced) if digest}


def _uuids(texts: Iterable[str]) -> list[UUID]:
    found = []
    for text in texts:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found


def answers(pipeline: "Pipeline") -> list[Any]:
    """Run commands; the answer of one that expects another type of key is its error. Raises all other errors."""
    found = pipeline.execute(raise_on_error=False)
    for answer in found:
        if isinstance(answer, redis.RedisError) and "WRONGTYPE" not in str(answer):
            raise answer
    return found


def _record(found: Any, forgotten: int) -> Fields:
    """Return a record with its expiry; what is no hash reads as damaged, what is not there is empty."""
    if isinstance(found, redis.RedisError):
        return _NO_HASH
    return found | {_EXPIRY: _bytes(forgotten)} if found else {}


def _origins(found: Any) -> set[str]:
    return set() if isinstance(found, redis.RedisError) else {text(origin) for origin in found} - {""}


def _is_number(text: bytes, most: int) -> bool:
    return text.isdigit() and len(text) < 20 and int(text) <= most


def _pairs(arguments: Sequence[Any]) -> Fields:
    return {_bytes(name): _bytes(value) for name, value in zip(arguments[::2], arguments[1::2], strict=True)}


def _bytes(value: str | int | bytes) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
