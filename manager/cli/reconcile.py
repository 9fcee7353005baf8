"""`llm-proxy reconcile`: proves that Redis says what SQL says, or puts it right."""

import json
from typing import NoReturn

import click

from manager.cli.start import start
from shared.settings import Plane

DIFFERS, AWAY = 1, 3


@click.command()
@click.option("--check", is_flag=True, help="Only compare; nothing is changed.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON document instead of lines.")
@click.pass_context
def reconcile(context: click.Context, check: bool, is_json: bool) -> None:
    """Compare everything that is published in Redis with SQL, and mend what differs.

    Exit code 0: nothing differs (any longer); 1: something does; 3: SQL or Redis could not be asked.
    """
    import redis
    from sqlalchemy.exc import SQLAlchemyError

    from manager import db
    from manager.publisher import PublishError
    from manager.reconcile import Reconciler
    from manager.stores import connect_redis

    settings = start(Plane.CONTROL)
    engine, client = db.open_engine(settings), connect_redis(settings.redis_url)
    try:
        reconciler = Reconciler(client, db.create_sessions(engine))
        found = reconciler.check() if check else reconciler.mend()
        left = found if check or found.is_equal else reconciler.check()
    except (redis.RedisError, PublishError) as error:
        _end(context, f"REDIS_URL: {error}")
    except SQLAlchemyError as error:
        _end(context, f"DATABASE_URL: {db.reason(error)}")
    finally:
        client.close()
        engine.dispose()
    is_mended = not check and not found.is_equal
    if is_json:
        click.echo(json.dumps({**found.to_json(), "mended": is_mended, "left": left.counts.total()}))
    else:
        for line in found.lines(is_mended):
            click.echo(line)
        if is_mended and not left.is_equal:
            click.echo(f"still different: {left.counts.total()}")
    if not left.is_equal:
        context.exit(DIFFERS)


def _end(context: click.Context, reason: str) -> NoReturn:
    click.echo(f"Error: {reason}", err=True)
    context.exit(AWAY)
