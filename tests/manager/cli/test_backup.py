"""Rules of the backup commands: there and back again, in plain words, and nothing is lost by a dry run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from manager.cli import main
from manager.tables import Project
from shared import sealing, settings
from tests.manager.conftest import Rows

KEYS = f"k1:{sealing.generate_key()}"

type Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Run:
    """Runs a command on an empty database."""
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("MANAGEMENT_TOKEN", settings.generate_secret())
    monkeypatch.setenv("TOKEN_PEPPER", settings.generate_secret())
    monkeypatch.setenv("ENCRYPTION_KEYS", KEYS)
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))
    return lambda *arguments: CliRunner().invoke(main, list(arguments))


def made(run: Run, *options: str) -> Path:
    """The backup that a command has made."""
    shown = run("backup", *options)
    assert shown.exit_code == 0, shown.output
    return Path(shown.output.splitlines()[-1])


@pytest.mark.parametrize(("options", "words"), [([], ", encrypted"), (["--no-encrypt"], ", not encrypted")])
def test_there_and_back_again(run: Run, rows: Rows, tmp_path: Path, options: list[str], words: str) -> None:
    rows.project(name="as it was")
    shown = run("backup", "--to", str(tmp_path / "elsewhere"), *options)
    path = Path(shown.output.splitlines()[-1])
    rows.change(rows.all(Project)[0], name="renamed since")

    dry, refused = run("restore", str(path), "--dry-run", "--replace"), run("restore", str(path))
    before = rows.all(Project)[0].name
    done = run("restore", str(path), "--replace")

    assert path.parent == tmp_path / "elsewhere" and words in shown.output and "1 rows" in shown.output
    assert dry.exit_code == 0 and "nothing changed" in dry.output and before == "renamed since"
    assert refused.exit_code == 1 and "not empty (audit_events, projects)" in refused.output
    assert done.exit_code == 0 and "restored 1 rows of " in done.output and "published to Redis anew" in done.output
    assert rows.all(Project)[0].name == "as it was"


def test_backups_lie_in_the_data_folder_unless_a_variable_says_otherwise(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(run)
    monkeypatch.setenv("LLM_PROXY_BACKUP_DIR", str(tmp_path / "disk"))

    assert (first.parent, made(run).parent) == (tmp_path / "backups", tmp_path / "disk")


def test_so_many_are_kept(run: Run, tmp_path: Path) -> None:
    paths = [made(run, "--keep", "2") for _ in range(4)]

    assert sorted((tmp_path / "backups").iterdir()) == paths[2:]


def test_a_dry_run_tells_what_is_wrong_with_the_target(run: Run, rows: Rows) -> None:
    rows.project()

    shown = run("restore", str(made(run)), "--dry-run")

    assert shown.exit_code == 1 and "not empty" in shown.output


@pytest.mark.parametrize("option", [[], ["--other-pepper"]])
def test_another_pepper_must_be_wanted(run: Run, monkeypatch: pytest.MonkeyPatch, option: list[str]) -> None:
    path = made(run)
    monkeypatch.setenv("TOKEN_PEPPER", settings.generate_secret())

    shown = run("restore", str(path), "--dry-run", "--replace", *option)

    assert shown.exit_code == (0 if option else 1)
    assert option or "another TOKEN_PEPPER" in shown.output


def test_a_file_that_is_no_backup_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("nonsense")

    shown = run("restore", str(tmp_path / "x"))

    assert shown.exit_code == 1 and shown.output.startswith("Error: x is damaged, or no backup")


def test_a_folder_that_cannot_be_written_to_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    shown = run("backup", "--to", str(tmp_path / "file" / "below"))

    assert shown.exit_code == 1 and shown.output.startswith("Error: ") and "Traceback" not in shown.output
