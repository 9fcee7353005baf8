"""Rules of the generated secrets: made once, kept, and readable by nobody else."""

from pathlib import Path

import pytest

from manager import secrets_file
from shared.sealing import Keyring


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    first = secrets_file.ensure(tmp_path, secrets_file.NAMES)

    assert secrets_file.ensure(tmp_path, secrets_file.NAMES) == first
    assert set(first) == {"MANAGEMENT_TOKEN", "ENCRYPTION_KEYS", "TOKEN_PEPPER"} and len(set(first.values())) == 3
    assert Keyring.parse(first["ENCRYPTION_KEYS"]).primary == "k1"


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    secrets_file.ensure(tmp_path, secrets_file.NAMES)

    assert (tmp_path / secrets_file.FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_only_what_is_asked_for_is_made(tmp_path: Path) -> None:
    assert list(secrets_file.ensure(tmp_path, ["TOKEN_PEPPER"])) == ["TOKEN_PEPPER"]
    assert secrets_file.ensure(tmp_path, []) == {}
    assert "MANAGEMENT_TOKEN" not in (tmp_path / secrets_file.FILE_NAME).read_text()


def test_what_is_missing_is_added_to_what_is_there(tmp_path: Path) -> None:
    pepper = secrets_file.ensure(tmp_path, ["TOKEN_PEPPER"])["TOKEN_PEPPER"]

    both = secrets_file.ensure(tmp_path, ["MANAGEMENT_TOKEN", "TOKEN_PEPPER"])

    assert both["TOKEN_PEPPER"] == pepper and len(both) == 2


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_not_trusted(tmp_path: Path, mode: int) -> None:
    secrets_file.ensure(tmp_path, secrets_file.NAMES)
    (tmp_path / secrets_file.FILE_NAME).chmod(mode)

    with pytest.raises(secrets_file.SecretsFileError, match="chmod 600"):
        secrets_file.ensure(tmp_path, secrets_file.NAMES)


def test_a_damaged_file_is_refused_without_quoting_a_secret(tmp_path: Path) -> None:
    path = tmp_path / secrets_file.FILE_NAME
    path.touch(0o600)
    path.write_text("# a comment\n\nTOKEN_PEPPERabcdefghijklmnopqrstuvwxyz0123456789\n")

    with pytest.raises(secrets_file.SecretsFileError, match="not NAME=value") as refused:
        secrets_file.ensure(tmp_path, secrets_file.NAMES)

    assert "lmnop" not in str(refused.value)
