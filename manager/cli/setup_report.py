"""What `llm-proxy setup` tells at its end."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from manager.doctor.finding import Finding
    from manager.setup import Installed, Step
    from shared.settings import Settings


def for_programs(settings: Settings, findings: list[Finding], steps: list[Step], made: Installed) -> dict[str, Any]:
    """Return what --json prints; the token only if it was made just now."""
    return {
        "data_dir": settings.data_dir,
        "base_url": f"{settings.public_url}/v1",
        "project": {"id": made.project.id, "name": made.project.name, "provider": made.project.provider},
        "token": {
            "id": made.token.id,
            "token": made.secret or None,
            "masked_token": made.token.masked,
            "expires_at": made.token.expires_at.isoformat(),
        },
        "steps": [asdict(each) for each in steps],
        "findings": [asdict(each) for each in findings],
    }


def for_people(settings: Settings, steps: list[Step], made: Installed) -> None:
    """Print what was made, what was left alone, and what to export."""
    for step in steps:
        mark = click.style("+", fg="green") if step.is_new else "="
        click.echo(f"{mark} {step.subject}: {step.told}{'' if step.is_new else ', left alone'}")
        if step.fix:
            click.echo(f"    {step.fix}")
    click.echo("\nFor this and other shells:\n")
    click.echo(f"export LLM_PROXY_DATA_DIR={shlex.quote(str(settings.data_dir))}")
    if made.secret:
        click.echo(f"export LLM_PROXY_TOKEN={made.secret}   # shown once")
    click.echo(f"\nApplications   base_url {settings.public_url}/v1, the token as API key")
    click.echo("Start it       llm-proxy up, then llm-proxy chat in another shell")
