"""Rules of serving: gunicorn does what our settings say and nothing else, and its workers end with it."""

import gc
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask

from manager.wsgi import RootLogger, Server
from manager.wsgi_worker import Worker
from shared.settings import Settings
from tests.manager.conftest import NOBODY, SettingsOf

# gunicorn reads the environment when it is imported, so it takes a process of its own to see what comes of it.
CONFIGURED = """
from pathlib import Path
from types import SimpleNamespace
from manager.wsgi import Server
cfg = Server(SimpleNamespace(listen_host="127.0.0.1", manager_port=8000, manager_threads=3, data_dir=Path("."))).cfg
names = ["bind", "workers", "threads", "forwarded_allow_ips"]
print({name: cfg.settings[name].get() for name in names})
"""


@pytest.fixture
def settings(settings_of: SettingsOf, tmp_path: Path) -> Settings:
    return settings_of(LLM_PROXY_DATA_DIR=str(tmp_path), REDIS_URL=NOBODY, LLM_PROXY_MANAGER_THREADS="3")


@pytest.fixture
def gunicorn_logs() -> Iterator[None]:
    """Puts gunicorn's loggers back."""
    loggers = [logging.getLogger(name) for name in ("gunicorn.error", "gunicorn.access")]
    before = [(logger.handlers[:], logger.propagate, logger.disabled, logger.level) for logger in loggers]
    yield
    for logger, (handlers, propagate, disabled, level) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate, logger.disabled = handlers, propagate, disabled
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("host", "bind"),
    [("127.0.0.1", "127.0.0.1:8123"), ("0.0.0.0", "0.0.0.0:8123"), ("::1", "[::1]:8123"), ("::", "[::]:8123")],
)
def test_it_listens_where_the_settings_say(settings_of: SettingsOf, host: str, bind: str) -> None:
    settings = settings_of(LLM_PROXY_LISTEN_HOST=host, LLM_PROXY_MANAGER_PORT="8123")

    assert Server(settings).cfg.bind == [bind]


def test_one_process_serves_with_as_many_threads_as_the_settings_say(settings: Settings) -> None:
    cfg = Server(settings).cfg

    assert (cfg.workers, cfg.threads, cfg.worker_class) == (1, 3, Worker)


def test_it_opens_no_socket_of_its_own_and_keeps_its_files_in_the_data_folder(
    settings: Settings, tmp_path: Path
) -> None:
    cfg = Server(settings).cfg

    assert (cfg.control_socket_disable, cfg.worker_tmp_dir) == (True, str(tmp_path))


def test_the_environment_changes_nothing() -> None:
    foreign = {"WEB_CONCURRENCY": "7", "PORT": "1", "FORWARDED_ALLOW_IPS": "*", "GUNICORN_CMD_ARGS": "--threads 9"}
    plain, changed = (
        subprocess.run([sys.executable, "-c", CONFIGURED], capture_output=True, check=True, env=environment).stdout
        for environment in ({}, foreign)
    )

    assert b"127.0.0.1:8000" in plain
    assert changed == plain


def test_the_app_is_made_by_the_worker(settings: Settings) -> None:
    app = Server(settings).load()

    assert isinstance(app, Flask)
    assert app.test_client().get("/healthz").status_code == 200
    app.extensions["llm_proxy"].close()


def test_nobody_waits_while_what_is_there_anyway_is_searched_for_garbage(settings: Settings) -> None:
    try:
        Server(settings).load().extensions["llm_proxy"].close()

        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()


def test_a_worker_ends_with_its_master(settings: Settings, asked_for: Callable[[], int]) -> None:
    Server(settings).cfg.post_fork(None, SimpleNamespace(ppid=os.getppid()))

    assert asked_for() == signal.SIGTERM


@pytest.mark.usefixtures("gunicorn_logs")
def test_its_logs_go_to_the_root_and_requests_are_not_logged(
    settings: Settings, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = Server(settings).cfg
    logger = cfg.logger_class(cfg)

    logger.error("the worker is lost")
    logger.access_log.error("GET /manage/tokens")

    assert isinstance(logger, RootLogger)
    assert logger.error_log.handlers == []
    assert (caplog.messages, capsys.readouterr().err) == (["the worker is lost"], "")
