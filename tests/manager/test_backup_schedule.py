"""Rules of backups by the clock where the clock was wrong; the others stand in test_backup.py."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from manager import backup
from manager.backup_schedule import BackupSchedule
from tests.manager.conftest import NOW
from tests.manager.test_backup import KNOWN

HOUR, YEARS = timedelta(hours=1), timedelta(days=3650)


@pytest.fixture
def schedule(engine: sa.Engine, tmp_path: Path) -> BackupSchedule:
    return BackupSchedule(engine, KNOWN, tmp_path / "kept", HOUR, keep=2, is_encrypted=False)


def test_a_backup_that_is_dated_years_ahead_puts_none_off(schedule: BackupSchedule) -> None:
    ahead = schedule.run(NOW + YEARS)

    made = schedule.run(NOW)

    assert made not in (None, ahead) and schedule.newest(NOW) == (NOW, made)
    assert schedule.run(NOW + HOUR / 2) is None


def test_backups_that_are_dated_years_ahead_cost_none_of_the_others_its_place(schedule: BackupSchedule) -> None:
    ahead = [schedule.run(NOW + YEARS + number * HOUR) for number in range(2)]

    made = [schedule.run(NOW + number * HOUR) for number in range(3)]

    kept = [path for _, path in backup.existing(schedule.folder)]
    assert kept == [ahead[1], ahead[0], made[2], made[1]]
