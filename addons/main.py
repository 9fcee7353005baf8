"""The data plane, as `mitmdump -s` and `mitmweb -s` load it. The ordered list below is the architecture."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from mitmproxy import ctx
from mitmproxy.addonmanager import Loader
from mitmproxy.addons.errorcheck import ErrorCheckHandler
from mitmproxy.proxy.server import ConnectionHandler

# mitmproxy puts this file's folder first on the path. The packages stand one above it, and nothing in this folder may
# shadow a module of the libraries. (Nor may any name in this module be that of a hook: mitmproxy would call it.)
_FOLDER = Path(__file__).resolve().parent
sys.path[:] = [str(_FOLDER.parent), *(entry for entry in sys.path if entry != str(_FOLDER))]

from addons.admission import Admission  # noqa: E402
from addons.allowlist import Allowlist  # noqa: E402
from addons.breakers import Breakers  # noqa: E402
from addons.budget import Budget  # noqa: E402
from addons.call import Calls  # noqa: E402
from addons.control import Control  # noqa: E402
from addons.cors import Cors, Preflight  # noqa: E402
from addons.credentials import Credentials  # noqa: E402
from addons.feed import Feeds  # noqa: E402
from addons.flushing import Flushing  # noqa: E402
from addons.forward import Forward  # noqa: E402
from addons.gate import Gate  # noqa: E402
from addons.headers import Headers  # noqa: E402
from addons.hiding import reveal  # noqa: E402
from addons.holding import Holding  # noqa: E402
from addons.holds import Holds  # noqa: E402
from addons.inspector import Inspector  # noqa: E402
from addons.interrupts import Interrupts  # noqa: E402
from addons.leases import Leases  # noqa: E402
from addons.limit_headers import LimitHeaders  # noqa: E402
from addons.live import Live  # noqa: E402
from addons.meter import Meter  # noqa: E402
from addons.metrics import Metrics  # noqa: E402
from addons.model_asked import ModelAsked  # noqa: E402
from addons.outage import Outage  # noqa: E402
from addons.presence import Presence  # noqa: E402
from addons.price_list import PriceList  # noqa: E402
from addons.realtime import Realtime  # noqa: E402
from addons.recovery import Recovery  # noqa: E402
from addons.redaction import Redaction  # noqa: E402
from addons.refusal_counts import RefusalCounts  # noqa: E402
from addons.release import Release  # noqa: E402
from addons.request_body import RequestBody, RequestKind  # noqa: E402
from addons.request_head import RequestHead  # noqa: E402
from addons.request_log import RequestLog  # noqa: E402
from addons.request_metrics import RequestMetrics  # noqa: E402
from addons.request_policy import RequestPolicy  # noqa: E402
from addons.reservation import Reservation  # noqa: E402
from addons.revocation import Revocation  # noqa: E402
from addons.route_table import RouteTable  # noqa: E402
from addons.rule_book import RuleBook  # noqa: E402
from addons.rules import Rules  # noqa: E402
from addons.settlement import Settling  # noqa: E402
from addons.sharing import Sharing  # noqa: E402
from addons.store import Store  # noqa: E402
from addons.stream_usage import StreamUsage  # noqa: E402
from addons.targets import Targets  # noqa: E402
from addons.telemetry import Telemetry  # noqa: E402
from addons.uploads import Uploads  # noqa: E402
from addons.upstream import Upstream  # noqa: E402
from addons.usage_log import UsageLog  # noqa: E402
from shared import core_dumps, logs, settings  # noqa: E402
from shared.providers import ProviderTableError  # noqa: E402


class Posture:
    """Sets the mitmproxy options that the rooms rely on."""

    def __init__(self, configuration: settings.Settings) -> None:
        self._configuration = configuration

    def load(self, loader: Loader) -> None:
        """Connect to providers only after all checks, print no flows, offer no side entrances, leave no core dumps."""
        core_dumps.forbid()
        ctx.options.update(connection_strategy="lazy", rawtcp=False, upstream_cert=False)
        # The engine has none of these.
        ctx.options.update_known(onboarding=False, flow_detail=0, termlog_verbosity="error", web_open_browser=False)
        _set_up_tls(self._configuration)
        if "web_port" in ctx.options and not ctx.options.has_changed("web_port"):
            ctx.options.update(web_port=self._configuration.inspector_port)
        _log_as_json(self._configuration)


def _set_up_tls(configuration: settings.Settings) -> None:
    if configuration.tls_file:
        ctx.options.update(certs=[f"*={configuration.tls_file}"])
    if configuration.upstream_ca_file:
        ctx.options.update(ssl_verify_upstream_trusted_ca=str(configuration.upstream_ca_file))
    if configuration.upstream_cert_file:
        ctx.options.update(client_certs=str(configuration.upstream_cert_file))


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
    table = RouteTable(configuration.providers_file)
    metrics = Metrics(configuration.metrics_dir)
    store = Store.connect(configuration.redis_url, configuration.redis_timeout_ms, metrics.redis_failed)
    calls, sharing, holds, prices = Calls(), Sharing(store), Holds(), PriceList(store)
    refusals = RefusalCounts(store)
    usage_log = UsageLog(store, holds, metrics.usage_waiting)
    outage = Outage(calls, configuration.workers)
    gate = Gate(store, table, holds, outage)
    breakers = Breakers(sharing.share, sharing.take_probe, metrics.breaker_changed)
    targets = Targets(breakers)
    recovery = Recovery(calls, breakers, targets, metrics.upstream_failed, metrics.retried)
    interrupts = Interrupts(_connection_handlers)
    has_certificate = configuration.tls_file is not None
    forward = Forward(calls, table, has_certificate)
    revocation = Revocation(calls, interrupts, metrics.stream_cut)
    feed = Feeds(store, metrics, configuration.feed_mb << 20)
    body, book = RequestBody(calls), RuleBook(store, metrics.rules_rejected)
    inspector = Inspector(calls, store, feed, prices.cost, metrics.flows_dropped, configuration.inspection)
    holding = Holding(store, inspector, reveal, body.check, metrics.requests_held)
    meter = Meter(calls, Settling(holds, prices.cost, usage_log.append).settle)
    return [
        Posture(configuration),
        table,
        Upstream(calls, recovery, interrupts, _connection_handlers, forward, has_certificate),
        RequestHead(calls),
        Redaction(calls, table),
        forward,
        Preflight(calls, table, store),
        Allowlist(calls, table),
        body,
        Admission(calls, gate, table, configuration.token_pepper),
        outage,
        revocation,
        recovery,
        Cors(calls),
        Headers(calls),
        RequestKind(calls),
        Uploads(calls),
        Rules(calls, book, holding, metrics.rule_hit),
        RequestPolicy(calls),
        ModelAsked(calls),
        Reservation(calls, gate, prices),
        Credentials(calls, targets, configuration.encryption_keys),
        meter,
        StreamUsage(calls),
        Realtime(calls, meter),
        Budget(calls, store, holds, prices, interrupts, metrics.stream_cut),
        LimitHeaders(calls),
        inspector,
        RequestLog(calls),
        RequestMetrics(calls, metrics, refusals.note),
        Release(),
        Leases(store, holds, usage_log.append, prices),
        usage_log,
        prices,
        book,
        Control(store, breakers, revocation, book, holding),
        Presence(store),
        Live(store, revocation.live),
        Telemetry(store, metrics, configuration.listen_host, configuration.metrics_port),
        refusals,
        sharing,
        store,
        Flushing(metrics),
    ]


def _connection_handlers() -> Mapping[object, ConnectionHandler]:
    proxyserver = ctx.master.addons.get("proxyserver")
    return cast(Mapping[object, ConnectionHandler], proxyserver.connections)


def _compose_or_exit() -> list[object]:
    try:
        return compose(settings.load(settings.Plane.DATA))
    except (settings.SettingsError, ProviderTableError) as error:
        raise SystemExit(f"llm-proxy cannot start: {error}") from None


addons = _compose_or_exit()
