"""The `llm-proxy` command. Commands are imported when they are called, so that help is quick."""

import importlib
from typing import cast

import click

from manager.cli.endings import EndingGroup, debug

_COMMANDS = {
    "setup": ("manager.cli.setup", "setup"),
    "up": ("manager.cli.up", "up"),
    "doctor": ("manager.cli.doctor", "doctor"),
    "logs": ("manager.cli.logs", "logs"),
    "proxy": ("manager.cli.proxy", "proxy"),
    "drain": ("manager.cli.running", "drain"),
    "reload": ("manager.cli.running", "reload"),
    "manager": ("manager.cli.services", "manager"),
    "jobs": ("manager.cli.services", "jobs"),
    "inspect": ("manager.cli.inspect", "inspect"),
    "chat": ("manager.cli.chat.command", "chat"),
    "openai": ("manager.cli.chat.command", "openai"),
    "benchmark": ("manager.cli.benchmark", "benchmark"),
    "project": ("manager.cli.resources", "project"),
    "key": ("manager.cli.resources", "key"),
    "token": ("manager.cli.resources", "token"),
    "request": ("manager.cli.resources", "request"),
    "price": ("manager.cli.resources", "price"),
    "operator": ("manager.cli.resources", "operator"),
    "provider": ("manager.cli.reports", "provider"),
    "limits": ("manager.cli.reports", "limits"),
    "usage": ("manager.cli.reports", "usage"),
    "live": ("manager.cli.reports", "live"),
    "flows": ("manager.cli.flows", "flows"),
    "status": ("manager.cli.reports", "status"),
    "reconcile": ("manager.cli.reconcile", "reconcile"),
    "mock-provider": ("manager.cli.services", "mock_provider"),
    "db": ("manager.cli.database", "db"),
    "audit": ("manager.cli.audit", "audit"),
    "keys": ("manager.cli.keys", "keys"),
    "backup": ("manager.cli.backup", "backup"),
    "restore": ("manager.cli.backup", "restore"),
    "config": ("manager.cli.config", "config"),
    "completion": ("manager.cli.completion", "completion"),
    "reference": ("manager.cli.reference", "reference"),
}


class LazyGroup(EndingGroup):
    """A group that knows its commands by name and imports one only when it is needed."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names, in the order in which help shows them."""
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import and return a command, None if there is none of this name."""
        if name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[name]
        return cast(click.Command, getattr(importlib.import_module(module), attribute))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llm-proxy")
@click.option("--debug", is_flag=True, expose_value=False, is_eager=True, callback=debug, help="Show tracebacks.")
def main() -> None:
    """Withering tokens for applications, provider keys for nobody: a proxy in front of LLM APIs."""
