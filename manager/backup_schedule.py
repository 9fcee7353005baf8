"""Backups by the clock: a new one when the newest in the folder is old enough, and old ones deleted after it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from manager import backup
from manager.backup import Secrets
from shared import logs
from shared.settings import Settings

_FOLDER = "backups"
log = logs.get("backup")


def folder_of(settings: Settings) -> Path:
    """Return the folder in which backups are kept."""
    return settings.backup_dir or settings.data_dir / _FOLDER


@dataclass(frozen=True)
class BackupSchedule:
    """How often a backup is due, and how many are kept. A restart does not make one due."""

    engine: sa.Engine
    known: Secrets
    folder: Path
    every: timedelta
    keep: int
    is_encrypted: bool

    @classmethod
    def of(cls, settings: Settings, engine: sa.Engine) -> "BackupSchedule | None":
        """Return what the settings say, None if there is nothing to be done."""
        if settings.backup_every is None:
            return None
        known = Secrets(settings.encryption_keys, settings.token_pepper)
        folder, keep = folder_of(settings), settings.backup_keep
        return cls(engine, known, folder, settings.backup_every, keep, settings.backup_encrypt)

    def run(self, now: datetime) -> Path | None:
        """Make a backup if it is due, and return where it is. Raises BackupError, SQLAlchemyError, OSError."""
        newest = self.newest(now)
        if newest and newest[0] > now - self.every:
            return None
        done = backup.create(self.engine, self.known, self.folder, now, is_encrypted=self.is_encrypted)
        pruned = backup.prune(self.folder, self.keep, now)
        log.info("backup_made", file=done.path.name, rows=done.rows, pruned=len(pruned))
        return done.path

    def newest(self, now: datetime) -> tuple[datetime, Path] | None:
        """Return when the newest backup was made, and where it is. What is dated ahead does not count."""
        return next((made for made in backup.existing(self.folder) if made[0] <= now), None)
