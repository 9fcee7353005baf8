"""An installation is made ready: keys, database, the first project and its token. What is there is left alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import audit, db, keys, limits, projects, sealed, secrets_file, tokens
from manager.doctor import folder, redis_server, tls
from manager.doctor.finding import Finding
from manager.doctor.listening import ports
from manager.rules import Rules
from manager.single_machine import MOCK_PROJECT
from manager.tables import Project, Token
from shared import providers
from shared import settings as environment
from shared.settings import Settings

# Where the bundled provider listens by itself; `up` starts one elsewhere, and tells the project.
MOCK_URL = "http://127.0.0.1:8090"


@dataclass(frozen=True)
class Wanted:
    """The first project and its token. Without a provider's key the bundled provider answers."""

    project: str
    provider: str
    api_key: str
    label: str
    expires_in: timedelta


@dataclass(frozen=True)
class Step:
    """What was done about one thing, or why nothing was. `fix` is how it is changed nevertheless."""

    subject: str
    told: str
    is_new: bool
    fix: str = ""


@dataclass(frozen=True)
class Installed:
    """The project and the token there are now; `secret` is the token itself if it was made just now, else empty."""

    project: Project
    token: Token
    secret: str
    steps: tuple[Step, ...]


def look(settings: Settings) -> Iterator[Finding]:
    """Tell what of this machine has to be well before anything is made; nothing is changed."""
    yield from folder.look(settings)
    yield from ports(settings)
    yield from tls.look(settings)
    yield from redis_server.look(settings)


def keep_secrets(where: Path) -> tuple[dict[str, str], Step]:
    """Return the secrets that the environment does not have, made if need be. Raises SecretsFileError, OSError."""
    names = environment.unset(secrets_file.NAMES)
    path = where / secrets_file.FILE_NAME
    known = secrets_file.read(where) if path.exists() else {}
    made = [name for name in names if name not in known]
    secrets = secrets_file.ensure(where, names)
    if made:
        return secrets, Step("secrets", f"made {', '.join(made)} in {path}", True)
    return secrets, Step("secrets", f"are in {path}" if names else "are in the environment", False)


def upgrade(settings: Settings) -> Step:
    """Bring the database to this release. Raises SQLAlchemyError, UnknownRevision, KeysMissing."""
    engine = db.open_engine(settings)
    try:
        if db.is_current(engine):
            step = Step("database", "is there, and its schema is current", False)
        else:
            db.upgrade(engine)
            step = Step("database", "was brought to the schema of this release", True)
    finally:
        engine.dispose()
    sealed.demand(settings)
    return step


def has_project(settings: Settings, name: str) -> bool:
    """Tell whether there is a project of this name. Raises SQLAlchemyError."""
    engine = db.open_engine(settings)
    try:
        with db.reading(db.create_sessions(engine)) as session:
            return _named(session, name) is not None
    finally:
        engine.dispose()


def begin(settings: Settings, wanted: Wanted) -> Installed:
    """Make the first project and its token, unless they are there. Raises SQLAlchemyError, DomainError."""
    own = frozenset((settings.management_token, settings.token_pepper.decode()))
    table = providers.load(settings.providers_file)
    rules = Rules(settings.encryption_keys, table, settings.allow_http_upstream, own)
    engine = db.open_engine(settings)
    try:
        return db.transact(db.create_sessions(engine), lambda session: _begin(session, settings, rules, wanted))
    finally:
        engine.dispose()


def _begin(session: Session, settings: Settings, rules: Rules, wanted: Wanted) -> Installed:
    now = datetime.now(UTC)
    project = _named(session, wanted.project) or (None if wanted.api_key else _named(session, MOCK_PROJECT))
    if project is None:
        project = _make_project(session, rules, now, wanted)
        step = Step("project", f"made {project.name!r}, of {project.provider}", True)
    else:
        fix = f"llm-proxy key rotate ID --project {project.name!r} replaces its key" if wanted.api_key else ""
        step = Step("project", f"{project.name!r} is there with its key", False, fix)
    token, secret = _token(session, settings, now, project, wanted)
    again = f"llm-proxy token create --project {project.name!r} --expires-in P7D makes another one"
    told = f"made, until {token.expires_at:%Y-%m-%d %H:%M} UTC" if secret else f"{token.masked} is there"
    return Installed(project, token, secret, (step, Step("token", told, bool(secret), "" if secret else again)))


def _named(session: Session, name: str) -> Project | None:
    return session.scalar(sa.select(Project).where(Project.name == name))


def _make_project(session: Session, rules: Rules, now: datetime, wanted: Wanted) -> Project:
    if wanted.api_key:
        known = {"name": wanted.project, "api_key": wanted.api_key, "provider": wanted.provider}
        project = projects.create(session, rules, now, **known)
    else:
        key = f"sk-mock-{environment.generate_secret()}"
        project = projects.create(session, rules, now, name=MOCK_PROJECT, api_key=key, base_url=MOCK_URL)
    made = {**projects.facts(project), "limits": limits.shown(project.limits)}
    detail = {"after": {**made, **keys.facts(project.keys[0])}}
    audit.note(session, now, _WHO, audit.Action.PROJECT_CREATE, project_id=project.id, detail=detail)
    return project


def _token(session: Session, settings: Settings, now: datetime, project: Project, wanted: Wanted) -> tuple[Token, str]:
    usable = tokens.matching(session, sa.select(Token), now, project_id=project.id, state=tokens.State.ACTIVE)
    known = session.scalar(usable.where(Token.label == wanted.label).order_by(Token.id.desc()).limit(1))
    if known is not None:
        return known, ""
    made, secret = tokens.create(
        session,
        settings.token_pepper,
        now,
        project_id=project.id,
        label=wanted.label,
        expires_in=wanted.expires_in,
        longest=settings.max_token_lifetime,
    )
    detail = {"after": tokens.facts(made)}
    audit.note(session, now, _WHO, audit.Action.TOKEN_CREATE, project_id=project.id, token_id=made.id, detail=detail)
    return made, secret


_WHO = audit.Source(audit.COMMAND)
