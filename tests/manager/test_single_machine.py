"""Rules of the folders that an installation lives in."""

from pathlib import Path

import pytest

from manager.single_machine import FolderTaken, Urls, _forget_metrics, _make_private, own_folder
from shared import sealing, settings
from shared.settings import Plane


def test_a_data_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    with own_folder(tmp_path / "data") as folder:
        with pytest.raises(FolderTaken, match="another llm-proxy is running"), own_folder(folder):
            pass

    with own_folder(tmp_path / "data"):
        pass


def test_a_data_folder_is_closed_to_others_even_if_it_was_open(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)

    with own_folder(tmp_path / "data") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_socket_folder_is_made_private(tmp_path: Path) -> None:
    _make_private(tmp_path / "socket")
    _make_private(tmp_path / "socket")

    assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o700


def test_a_socket_folder_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")

    for folder in ("open", "link"):
        with pytest.raises(FolderTaken):
            _make_private(tmp_path / folder)


def test_metrics_of_earlier_workers_are_forgotten_and_nothing_else(tmp_path: Path) -> None:
    for name in ("counter_7.db", "gauge_livesum_7.db", "an-operators-own-file"):
        (tmp_path / name).touch()

    _forget_metrics(tmp_path)
    _forget_metrics(tmp_path / "not made yet")

    assert [path.name for path in tmp_path.iterdir()] == ["an-operators-own-file"]


@pytest.mark.parametrize(
    ("listen", "host"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")]
)
def test_urls_are_those_that_this_machine_reaches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listen: str, host: str
) -> None:
    monkeypatch.setenv("ENCRYPTION_KEYS", f"k1:{sealing.generate_key()}")
    monkeypatch.setenv("TOKEN_PEPPER", settings.generate_secret())
    monkeypatch.setenv("MANAGEMENT_TOKEN", settings.generate_secret())
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LLM_PROXY_LISTEN_HOST", listen)

    urls = Urls.of(settings.load(Plane.SUPERVISOR))

    assert (urls.proxy, urls.manager, urls.health, urls.inspector) == (
        f"http://{host}:8080",
        f"http://{host}:8000",
        f"http://{host}:9101",
        "http://127.0.0.1:8081",
    )
