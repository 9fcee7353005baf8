"""Serves the management API with gunicorn: one process, several threads, logs through our own root."""

import signal
from typing import Any

from gunicorn import glogging
from gunicorn.app.base import BaseApplication
from gunicorn.http.errors import ParseException

from manager import create_app, servers
from manager.api.problems import problem
from manager.process import die_with_parent, spare_what_is_loaded
from manager.wsgi_worker import Worker
from shared.settings import Settings

STOP_SECONDS = 5


class RootLogger(glogging.Logger):  # type: ignore[misc]
    """gunicorn's logger without handlers of its own; requests are not logged here."""

    def setup(self, cfg: Any) -> None:
        """Let everything go to the root."""
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.access_log.disabled = True


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured by our settings and by nothing else: no files, no arguments, no environment."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Hand our settings to gunicorn."""
        host = f"[{self._settings.listen_host}]" if ":" in self._settings.listen_host else self._settings.listen_host
        options: dict[str, Any] = {
            "bind": f"{host}:{self._settings.manager_port}",
            "worker_class": Worker,
            "workers": 1,
            "threads": self._settings.manager_threads,
            "graceful_timeout": STOP_SECONDS,
            "limit_request_line": 4094,
            "limit_request_fields": 50,
            "forwarded_allow_ips": "127.0.0.1,::1",
            "control_socket_disable": True,
            "logger_class": RootLogger,
            "post_fork": lambda arbiter, worker: die_with_parent(worker.ppid, signal.SIGTERM),
            "worker_tmp_dir": str(self._settings.data_dir),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the app, made in the worker: connections are not shared over a fork."""
        servers.report_meanwhile(self._settings)
        app = create_app(self._settings)
        app.register_error_handler(ParseException, lambda _: problem(400, None, "The body is malformed."))
        spare_what_is_loaded()
        return app


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    Server(settings).run()
