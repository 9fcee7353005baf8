"""Shell completion."""

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete our commands.

    \b
    eval "$(llm-proxy completion bash)"
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    root = click.get_current_context().find_root()
    if kind is None:
        raise click.UsageError(f"{shell} is not known.")
    click.echo(kind(root.command, {}, "llm-proxy", "_LLM_PROXY_COMPLETE").source())
