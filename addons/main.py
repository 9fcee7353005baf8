"""The data plane, as `mitmdump -s` and `mitmweb -s` load it. The ordered list below is the architecture."""

import logging
import sys
from pathlib import Path

from mitmproxy import ctx
from mitmproxy.addonmanager import Loader
from mitmproxy.addons.errorcheck import ErrorCheckHandler

# mitmproxy puts this file's folder first on the path. The packages stand one above it, and nothing in this folder may
# shadow a module of the libraries. (Nor may any name in this module be that of a hook: mitmproxy would call it.)
_FOLDER = Path(__file__).resolve().parent
sys.path[:] = [str(_FOLDER.parent), *(entry for entry in sys.path if entry != str(_FOLDER))]

from addons.admission import Admission  # noqa: E402
from addons.allowlist import Allowlist  # noqa: E402
from addons.call import Calls  # noqa: E402
from addons.credentials import Credentials  # noqa: E402
from addons.meter import Meter  # noqa: E402
from addons.redaction import Redaction  # noqa: E402
from addons.request_body import RequestBody  # noqa: E402
from addons.request_head import RequestHead  # noqa: E402
from addons.request_log import RequestLog  # noqa: E402
from addons.store import Store  # noqa: E402
from addons.telemetry import Telemetry  # noqa: E402
from addons.upstream import Upstream  # noqa: E402
from addons.usage_log import UsageLog  # noqa: E402
from shared import logs, providers, settings  # noqa: E402


class Posture:
    """Sets the mitmproxy options that the rooms rely on."""

    def __init__(self, configuration: settings.Settings) -> None:
        self._configuration = configuration

    def load(self, loader: Loader) -> None:
        """Connect to providers only after all checks, print no flows, offer no side entrances."""
        ctx.options.update(connection_strategy="lazy", onboarding=False, rawtcp=False)
        ctx.options.update_known(flow_detail=0, termlog_verbosity="error", web_open_browser=False)
        if "web_port" in ctx.options and not ctx.options.has_changed("web_port"):
            ctx.options.update(web_port=self._configuration.inspector_port)
        _log_as_json(self._configuration)


def _log_as_json(configuration: settings.Settings) -> None:
    # Of mitmproxy's own handlers only the one that ends a failed start is kept: the others would show log lines,
    # in the terminal or on mitmweb's page, that have not been redacted.
    watchers = [handler for handler in logging.getLogger().handlers if isinstance(handler, ErrorCheckHandler)]
    logs.configure(configuration.log_level, configuration.secrets())
    for watcher in watchers:
        logging.getLogger().addHandler(watcher)
    if configuration.log_level != "debug":
        logging.getLogger("mitmproxy").setLevel(logging.WARNING)  # It says four things about every connection.


def compose(configuration: settings.Settings) -> list[object]:
    """Return the rooms in the order in which a request passes them."""
    table = providers.load(configuration.providers_file)
    credential_headers = {provider.credential.header for provider in table.providers.values()}
    store = Store.connect(configuration.redis_url, configuration.redis_timeout_ms)
    calls, usage_log = Calls(), UsageLog(store)
    return [
        Posture(configuration),
        Upstream(calls),
        RequestHead(calls),
        Redaction(calls, credential_headers),
        Allowlist(calls, table),
        RequestBody(calls),
        Admission(calls, store, table, configuration.token_pepper),
        Credentials(calls, configuration.encryption_keys),
        Meter(calls, usage_log.append),
        RequestLog(calls),
        usage_log,
        Telemetry(store, configuration.listen_host, configuration.metrics_port),
        store,
    ]


def _configuration() -> settings.Settings:
    try:
        return settings.load(settings.Plane.DATA)
    except settings.SettingsError as error:
        raise SystemExit(f"llm-proxy cannot start: {error}") from None


addons = compose(_configuration())
