"""The `llm-proxy` command. Commands are imported when they are called, so that help is quick."""

import importlib
from typing import cast

import click

_COMMANDS = {
    "up": ("manager.cli.up", "up"),
    "proxy": ("manager.cli.proxy", "proxy"),
    "manager": ("manager.cli.services", "manager"),
    "jobs": ("manager.cli.services", "jobs"),
    "inspect": ("manager.cli.inspect", "inspect"),
    "reconcile": ("manager.cli.reconcile", "reconcile"),
    "mock-provider": ("manager.cli.services", "mock_provider"),
    "db": ("manager.cli.database", "db"),
    "audit": ("manager.cli.audit", "audit"),
    "keys": ("manager.cli.keys", "keys"),
    "backup": ("manager.cli.backup", "backup"),
    "restore": ("manager.cli.backup", "restore"),
}


class LazyGroup(click.Group):
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
def main() -> None:
    """Withering tokens for applications, provider keys for nobody: a proxy in front of LLM APIs."""
