"""What the views work with: made once per app, reached through it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import redis
import sqlalchemy as sa
from flask import Flask, current_app, g, request
from redis import Redis
from sqlalchemy.orm import Session

from manager import audit, db
from manager.errors import Forbidden
from manager.flow_exports import FlowExport
from manager.people import People
from manager.principals import EVERYTHING, Principal, Role, Scope
from manager.publisher import Publisher, PublishError
from manager.readiness import Readiness
from manager.rule_check import RuleCheck
from manager.rules import Rules
from manager.stores import connect_redis
from manager.tallies import SafeTallies
from manager.upstream_health import UpstreamHealth
from shared import logs, providers, redis_servers
from shared.settings import Settings

_EXTENSION = "llm_proxy"
# What every request waits for must not hold it up for long: there is another way when Redis is away.
ACCESS_SECONDS = 0.5
log = logs.get("api")


@dataclass(frozen=True)
class Services:
    """Collaborators of the views."""

    settings: Settings
    engine: sa.Engine
    sessions: db.Sessions
    redis: "redis.Redis"
    access_redis: Redis
    publisher: Publisher
    health: UpstreamHealth
    readiness: Readiness
    rules: Rules
    tallies: SafeTallies
    people: People | None
    # Programs that know what flows are.
    rule_check: RuleCheck = field(default_factory=RuleCheck)
    flow_export: FlowExport = field(default_factory=FlowExport)

    @classmethod
    def of(cls, settings: Settings) -> "Services":
        """Open everything that the settings name; connections are made when first needed."""
        engine, client = db.open_engine(settings), connect_redis(settings.redis_url)
        sessions = db.create_sessions(engine)
        table = providers.load(settings.providers_file)
        own = frozenset((settings.management_token, settings.token_pepper.decode()))
        rules = Rules(settings.encryption_keys, table, settings.allow_http_upstream, own)
        publisher = Publisher(client, sessions)
        readiness = Readiness(engine, client, publisher)
        access = redis_servers.client(settings.redis_url, ACCESS_SECONDS)
        health = UpstreamHealth(access)  # What it tells is shown beside the rest, if it is there.
        tallies = SafeTallies(access)
        people = People.of(settings, tallies)
        return cls(settings, engine, sessions, client, access, publisher, health, readiness, rules, tallies, people)

    def transact[Result](self, work: Callable[[Session], Result]) -> Result:
        """Do work in one transaction; see db.transact."""
        return db.transact(self.sessions, work)

    def publish_created(self, publish: Callable[[Publisher], None]) -> None:
        """Publish something new. If Redis is away it still is created: the jobs process publishes it later."""
        try:
            publish(self.publisher)
        except PublishError as error:
            log.warning("publish_pending", reason=str(error))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        self.redis.close()
        self.access_redis.close()


def install(app: Flask, services: Services) -> None:
    """Make services available to the app's views."""
    app.extensions[_EXTENSION] = services


def services() -> Services:
    """Return the services of the current app."""
    return cast(Services, current_app.extensions[_EXTENSION])


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def source() -> audit.Source:
    """Return who does what the current request asks for, from where."""
    who = principal()
    return audit.Source(who.name, g.request_id, request.remote_addr, who.id)


def principal() -> Principal:
    """Return who sent the current request."""
    return cast(Principal, g.principal)


def scope() -> Scope:
    """Return the projects that the current request may see."""
    return principal().scope


def demand(role: Role) -> None:
    """Raise Forbidden unless the current request's principal has a role."""
    if not principal().role.covers(role):
        raise Forbidden(f"This needs the role {role}.")


def demand_everything() -> None:
    """Raise Forbidden if the current request's principal may see some projects only."""
    if scope() != EVERYTHING:
        raise Forbidden("This is about all projects, and you may see some of them only.")


def note(session: Session, action: audit.Action, **more: Any) -> None:
    """Write down what the current request does; see audit.note."""
    audit.note(session, now(), source(), action, **more)
