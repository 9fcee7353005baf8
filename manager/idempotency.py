"""Requests that may be sent twice and are carried out once: an answer is kept with the change that it tells of.

Plain functions over a session; the caller commits. Whoever comes with the same key meanwhile waits for that.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import db
from manager.errors import Invalid, KeyReused
from manager.principals import Principal
from manager.sealed import IDEMPOTENT_ANSWERS
from manager.tables import IdempotentAnswer, new_id
from shared.sealing import Keyring

KEPT = timedelta(hours=24)
KEY_HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")


@dataclass(frozen=True)
class Asked:
    """A request: whose, under which key, and what it asks for. Raises Invalid for a key that is none."""

    principal: str
    key: str
    fingerprint: str

    def __post_init__(self) -> None:
        if not KEY.match(self.key):
            raise Invalid(KEY_HEADER, "Must have 1 to 255 printable ASCII characters without spaces.")


@dataclass(frozen=True)
class Answer:
    """What was answered: a JSON text, which may hold a secret; and the state of what it shows, see manager/etags.py."""

    status: int
    body: str
    state: str = ""


def fingerprint(principal: Principal, method: str, path: str, body: bytes) -> str:
    """Return what makes one request the same as another; who may do more, or less, than then asks for another thing."""
    ids = principal.scope.project_ids
    may = [str(principal.role), *(["everything"] if ids is None else sorted(map(str, ids)))]
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), ",".join(may).encode(), body))).hexdigest()


def once(session: Session, keyring: Keyring, now: datetime, asked: Asked, act: Callable[[], Answer]) -> Answer | None:
    """Act, keep the answer and return None; or, if that was done before, return the answer that was kept.

    Raises KeyReused for another request under the same key, and whatever `act` raises; then nothing is kept.
    """
    row_id = new_id()
    mine = sa.and_(IdempotentAnswer.principal == asked.principal, IdempotentAnswer.key == asked.key)
    session.execute(sa.delete(IdempotentAnswer).where(mine, IdempotentAnswer.created_at < now - KEPT))
    if not _claim(session, row_id, now, asked):
        return _kept(session.scalars(sa.select(IdempotentAnswer).where(mine)).one(), keyring, asked)
    answer = act()
    sealed = keyring.seal(f"{answer.state}\n{answer.body}", IDEMPOTENT_ANSWERS.place(row_id))
    kept = sa.update(IdempotentAnswer).where(IdempotentAnswer.id == row_id)
    session.execute(kept.values(status=answer.status, sealed=sealed))
    return None


def _claim(session: Session, row_id: object, now: datetime, asked: Asked) -> bool:
    """Take the key. While another transaction holds it, the database makes this one wait for how that ends."""
    row = {"id": row_id, "principal": asked.principal, "key": asked.key, "fingerprint": asked.fingerprint}
    statement = db.insert(session, IdempotentAnswer).values(**row, status=0, sealed="", created_at=now)
    claimed = statement.on_conflict_do_nothing(index_elements=["principal", "key"]).returning(IdempotentAnswer.id)
    return session.scalar(claimed) is not None


def _kept(row: IdempotentAnswer, keyring: Keyring, asked: Asked) -> Answer:
    if row.fingerprint != asked.fingerprint:
        raise KeyReused("The idempotency key came before with another request; take a new one.")
    state, _, body = keyring.open(row.sealed, IDEMPOTENT_ANSWERS.place(row.id)).partition("\n")
    return Answer(row.status, body, state)
