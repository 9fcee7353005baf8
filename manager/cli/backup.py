"""The commands that make and restore backups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from manager.cli import shown as output
from manager.cli.database import database, shown
from manager.cli.options import json_option

if TYPE_CHECKING:
    import sqlalchemy as sa

    from manager.backup import Secrets
    from manager.backup_file import Manifest
    from shared.settings import Settings


@click.command()
@click.option(
    "--to", "folder", type=click.Path(file_okay=False, path_type=Path), help="LLM_PROXY_BACKUP_DIR by default."
)
@click.option("--keep", type=click.IntRange(1), help="Then delete all backups there but the newest so many.")
@click.option("--encrypt/--no-encrypt", default=None, help="LLM_PROXY_BACKUP_ENCRYPT by default.")
@json_option
def backup(folder: Path | None, keep: int | None, encrypt: bool | None, is_json: bool) -> None:
    """Make a backup of the database while everything runs; the last line is its path."""
    from manager import backup as backups
    from manager.backup_schedule import folder_of

    with _telling() as (settings, engine, known):
        is_encrypted = settings.backup_encrypt if encrypt is None else encrypt
        where, now = folder or folder_of(settings), datetime.now(UTC)
        made = backups.create(engine, known, where, now, is_encrypted=is_encrypted)
        pruned = backups.prune(where, keep, now) if keep else []
    size = made.path.stat().st_size
    if is_json:
        told = {"file": made.path, "rows": made.rows, "bytes": size, "is_encrypted": is_encrypted}
        output.as_json(told | {"deleted": len(pruned)})
        return
    click.echo(f"{made.rows} rows, {size / 1e6:.1f} MB, {'encrypted' if is_encrypted else 'not encrypted'}")
    if pruned:
        click.echo(f"deleted {len(pruned)} older ones")
    click.echo(made.path)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check the backup and the database, and change nothing.")
@click.option("--replace", is_flag=True, help="Put it in the place of what the database holds, which is lost.")
@click.option("--other-pepper", is_flag=True, help="Take it though its tokens do not work with this TOKEN_PEPPER.")
@json_option
def restore(file: Path, dry_run: bool, replace: bool, other_pepper: bool, is_json: bool) -> None:
    """Put the backup FILE into the database of DATABASE_URL, of either kind.

    It is checked first: every checksum, every key, the schema. Stop manager and jobs before.
    """
    from manager import restore as restoring

    with _telling() as (settings, engine, known):
        if dry_run:
            manifest = restoring.check(file, known, with_pepper=not other_pepper)
            restoring.check_target(engine, replace=replace)
            if is_json:
                output.as_json(_about(manifest, is_restored=False))
            else:
                made_at = f"{manifest.created_at:%Y-%m-%d %H:%M:%S} UTC"
                click.echo(f"fine: schema {manifest.schema}, made {made_at}; nothing changed")
            return
        now = datetime.now(UTC)
        done = restoring.restore(file, engine, known, now, replace=replace, with_pepper=not other_pepper)
    if is_json:
        told = _about(done.manifest, is_restored=True)
        output.as_json(told | {"rows": done.rows, "kept_revoked": dict(done.kept_revoked)})
        return
    kept = ", ".join(f"{count} {kind}" for kind, count in done.kept_revoked.items() if count)
    moment = f"{done.manifest.created_at:%Y-%m-%d %H:%M:%S} UTC"
    click.echo(f"restored {done.rows} rows of {moment} to {shown(settings.database_url)}")
    if kept:
        click.echo(f"taken away since then, and still so: {kept}")
    click.echo("start manager and jobs: everything is published to Redis anew")


def _about(manifest: Manifest, *, is_restored: bool) -> dict[str, Any]:
    return {"is_restored": is_restored, "schema": manifest.schema, "created_at": manifest.created_at.isoformat()}


@contextmanager
def _telling() -> Iterator[tuple[Settings, sa.Engine, Secrets]]:
    """Settings, an engine, and what opens a backup; what goes wrong is told in plain words."""
    from manager.backup import Secrets
    from manager.backup_file import BackupError
    from manager.portable import PortableError
    from manager.sealed import KeysMissing

    with database() as (settings, engine):
        try:
            yield settings, engine, Secrets(settings.encryption_keys, settings.token_pepper)
        except (BackupError, PortableError, KeysMissing, OSError) as error:
            raise click.ClickException(str(error)) from None
