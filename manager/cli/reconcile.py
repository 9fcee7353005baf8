"""`llm-proxy reconcile`: proves that Redis says what SQL says, or puts it right."""

import json
from typing import NoReturn

import click

from manager.cli.start import start_here

DIFFERS, AWAY, WRONG = 1, 3, 4


@click.command()
@click.option("--check", is_flag=True, help="Only compare; nothing is changed.")
@click.option("--adopt", is_flag=True, help="Take over a Redis that belongs to another database.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON document instead of lines.")
@click.pass_context
def reconcile(context: click.Context, check: bool, adopt: bool, is_json: bool) -> None:
    """Compare everything that is published in Redis with SQL, and mend what differs.

    Exit code 0: nothing differs (any longer); 1: something does; 3: SQL or Redis could not be asked; 4: Redis
    belongs to another database, and nothing was touched.
    """
    import redis
    from sqlalchemy.exc import SQLAlchemyError

    from manager import db
    from manager.publishing import PublishError, WrongRedis
    from manager.reconcile import Reconciler
    from manager.stores import connect_redis

    if check and adopt:
        raise click.UsageError("--check changes nothing, and --adopt does.")
    settings = start_here()
    engine, client = db.open_engine(settings), connect_redis(settings.redis_url)
    try:
        reconciler = Reconciler(client, db.create_sessions(engine))
        found = reconciler.check() if check else reconciler.mend(is_adopting=adopt)
        left = found if check or found.is_equal else reconciler.check()
    except WrongRedis as error:
        _end(context, str(error), WRONG)
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


def _end(context: click.Context, reason: str, code: int = AWAY) -> NoReturn:
    click.echo(f"Error: {reason}", err=True)
    context.exit(code)
