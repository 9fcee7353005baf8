"""Makes commands of what the API keeps: the same verbs with the same options for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import click

from manager.cli import shown
from manager.cli.options import NONE, Json, Whole, confirm, remote_options, secret_from, watch_option, yes_option
from manager.cli.remote import Remote, connect


class Kind(Enum):
    """What a field takes on the command line."""

    TEXT = "text"
    WHOLE = "whole"
    TRUTH = "truth"
    JSON = "json"
    # Given several times.
    TEXTS = "texts"
    # From a file, standard input or the keyboard: the option is `--<name>-file`.
    SECRET = "secret"  # noqa: S105 - a kind of field
    # The id or the name of a project.
    PROJECT = "project"


@dataclass(frozen=True)
class Field:
    """A field of a body or a query. `alias` is the option's name if that is not the field's."""

    name: str
    help: str
    kind: Kind = Kind.TEXT
    is_required: bool = False
    choices: tuple[str, ...] = ()
    alias: str = ""

    @property
    def option(self) -> str:
        """Its name on the command line."""
        return (self.alias or self.name).replace("_", "-")


@dataclass(frozen=True)
class Action:
    """A verb beyond the usual ones: a request to a path below one of them. `question` is asked before."""

    name: str
    help: str
    path: str
    method: str = "POST"
    fields: tuple[Field, ...] = ()
    question: str = ""
    done: str = "Done."


@dataclass(frozen=True)
class Resource:
    """One kind of thing. `path` may have `{project}` in it; then each command takes a project."""

    name: str
    plural: str
    path: str
    columns: tuple[str, ...]
    filters: tuple[Field, ...] = ()
    sorts: tuple[str, ...] = ()
    creates: tuple[Field, ...] | None = None
    changes: tuple[Field, ...] | None = None
    create_method: str = "POST"
    # What `delete` is called, None if there is no such thing, and what it asks.
    delete: str | None = None
    question: str = ""
    actions: tuple[Action, ...] = ()

    @property
    def is_of_project(self) -> bool:
        """Whether it belongs to a project by its path."""
        return "{project}" in self.path


def group(resource: Resource) -> click.Group:
    """Return the commands of a resource."""
    made = click.Group(resource.name, help=f"Look after {resource.plural}, through the API.")
    for command in reading(resource):
        made.add_command(command)
    if resource.creates is not None:
        made.add_command(_create(resource, resource.creates))
    if resource.changes is not None:
        made.add_command(_update(resource, resource.changes))
    if resource.delete is not None:
        made.add_command(_delete(resource, resource.delete))
    for action in resource.actions:
        made.add_command(_action(resource, action))
    return made


def reading(resource: Resource) -> list[click.Command]:
    """Return the commands that only look."""
    return [_list(resource), _get(resource)]


def project_id(remote: Remote, wanted: str) -> str:
    """Return the id of a project by its id or its exact name. Raises UsageError."""
    if _is_id(wanted):
        return wanted
    found = remote.pages("/manage/projects", {"name_prefix": wanted}, 1000)
    for project in found:
        if project["name"] == wanted:
            return str(project["id"])
    raise click.UsageError(f"There is no project {wanted!r}.\nHint: see `llm-proxy project list`")


def _is_id(text: str) -> bool:
    return len(text.replace("-", "")) == 32 and all(c in "0123456789abcdefABCDEF-" for c in text)


def _list(resource: Resource) -> click.Command:
    def work(
        most: int, watch: float | None, is_json: bool, url: str | None, sort: str | None = None, **given: Any
    ) -> None:
        remote = connect(url)
        path = _path(remote, resource, given)
        query = _values(remote, resource.filters, given) | ({"sort": sort} if sort else {})

        def show() -> None:
            rows = list(remote.pages(path, {name: _in_query(value) for name, value in query.items()}, most))
            if is_json:
                shown.as_json(rows)
            else:
                shown.table(rows, resource.columns, f"No {resource.plural}.")

        shown.repeatedly(show, watch)

    made = _command("list", f"List {resource.plural}, page after page.", work, resource, resource.filters)
    made.params.append(
        click.Option(
            ["--most"], type=click.IntRange(1, 100_000), default=100, show_default=True, help="So many at most."
        )
    )
    if resource.sorts:
        made.params.append(click.Option(["--sort"], type=click.Choice(resource.sorts), help="In this order."))
    return watch_option(made)


def _get(resource: Resource) -> click.Command:
    def work(item: str, watch: float | None, is_json: bool, url: str | None, **given: Any) -> None:
        remote = connect(url)
        path = _item_path(remote, resource, item, given)
        shown.repeatedly(lambda: _show(remote.ask("GET", path), is_json), watch)

    made = _command("get", f"Show one of the {resource.plural}.", work, resource)
    return watch_option(_with_item(resource, made))


def _create(resource: Resource, fields: Sequence[Field]) -> click.Command:
    def work(is_json: bool, url: str | None, **given: Any) -> None:
        remote = connect(url)
        body = _values(remote, fields, given)
        _show(remote.ask(resource.create_method, _path(remote, resource, given), body=body), is_json)

    return _command("create", f"Make one of the {resource.plural}.", work, resource, fields)


def _update(resource: Resource, fields: Sequence[Field]) -> click.Command:
    def work(item: str, is_json: bool, url: str | None, **given: Any) -> None:
        remote = connect(url)
        body = _values(remote, fields, given)
        if not body:
            raise click.UsageError(f"Nothing is to be changed.\nHint: --{fields[0].option} and others say what")
        _show(remote.ask("PATCH", _item_path(remote, resource, item, given), body=body), is_json)

    made = _command("update", f"Change one of the {resource.plural}; what is not named stays.", work, resource, fields)
    return _with_item(resource, made)


def _delete(resource: Resource, name: str) -> click.Command:
    def work(items: tuple[str, ...], yes: bool, is_json: bool, url: str | None, **given: Any) -> None:
        confirm(resource.question, yes)
        remote = connect(url)
        done = []
        for item in items:
            remote.ask("DELETE", _item_path(remote, resource, item, given))
            done.append(item)
            if not is_json:
                click.echo(f"{item}: done")
        if is_json:
            shown.as_json({"done": done})

    made = yes_option(_command(name, f"{name.capitalize()} some of the {resource.plural}.", work, resource))
    made.params.insert(0, click.Argument(["items"], nargs=-1, required=True, metavar="ID..."))
    return made


def _action(resource: Resource, action: Action) -> click.Command:
    def work(item: str, is_json: bool, url: str | None, yes: bool = False, **given: Any) -> None:
        if action.question:
            confirm(action.question, yes)
        remote = connect(url)
        body = _values(remote, action.fields, given)
        answer = remote.ask(action.method, _item_path(remote, resource, item, given) + action.path, body=body)
        if answer is None and not is_json:
            click.echo(action.done)
        else:
            _show(answer, is_json)

    made = _command(action.name, action.help, work, resource, action.fields)
    return _with_item(resource, yes_option(made) if action.question else made)


def _command(
    name: str, help: str, work: Callable[..., None], resource: Resource, fields: Sequence[Field] = ()
) -> click.Command:
    made = click.Command(name, callback=work, help=help)
    if resource.is_of_project:
        made.params.append(
            click.Option(["--project", "of_project"], required=True, metavar="PROJECT", help="Its name or id.")
        )
    made.params += [_option(field) for field in fields]
    remote_options(made)
    return made


def _with_item(resource: Resource, command: click.Command) -> click.Command:
    command.params.insert(0, click.Argument(["item"], metavar="PROJECT" if resource.name == "project" else "ID"))
    return command


def _option(field: Field) -> click.Option:
    name, more = f"--{field.option}", {"help": field.help, "required": field.is_required}
    if field.kind is Kind.TRUTH:
        return click.Option([f"{name}/--no-{field.option}", field.name], default=None, help=field.help)
    if field.kind is Kind.SECRET:
        help = f"{field.help} From this file, - for standard input; asked for in a terminal."
        return click.Option([f"{name}-file", field.name], metavar="FILE", help=help)
    if field.kind is Kind.JSON:
        return click.Option([name, field.name], type=Json(), metavar="JSON|@FILE", **more)  # type: ignore[arg-type]
    if field.kind is Kind.WHOLE:
        return click.Option([name, field.name], type=Whole(), **more)  # type: ignore[arg-type]
    if field.kind is Kind.TEXTS:
        return click.Option([name, field.name], multiple=True, **more)  # type: ignore[arg-type]
    kind = click.Choice(field.choices) if field.choices else None
    metavar = "PROJECT" if field.kind is Kind.PROJECT else None
    return click.Option([name, field.name], type=kind, metavar=metavar, **more)  # type: ignore[arg-type]


def _values(remote: Remote, fields: Sequence[Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given of some fields, as the API takes it."""
    found: dict[str, Any] = {}
    for field in fields:
        value = given.get(field.name)
        if field.kind is Kind.SECRET and (value is not None or field.is_required):
            value = secret_from(value, field.option.replace("-", " "))
        if value is None or value == ():
            continue
        if value == NONE:
            value = None
        elif field.kind is Kind.PROJECT:
            value = project_id(remote, value)
        elif field.kind is Kind.TEXTS:
            value = list(value)
        found[field.name] = value
    return found


def _in_query(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _path(remote: Remote, resource: Resource, given: Mapping[str, Any]) -> str:
    if not resource.is_of_project:
        return resource.path
    return resource.path.replace("{project}", project_id(remote, given["of_project"]))


def _item_path(remote: Remote, resource: Resource, item: str, given: Mapping[str, Any]) -> str:
    from urllib.parse import quote

    known = project_id(remote, item) if resource.name == "project" else item
    return f"{_path(remote, resource, given)}/{quote(known, safe='')}"


def _show(answer: Any, is_json: bool) -> None:
    if is_json or not isinstance(answer, dict):
        shown.as_json(answer)
    else:
        shown.details(answer)
