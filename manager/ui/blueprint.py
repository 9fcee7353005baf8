"""The blueprint that all pages are on. Each view has a role that it needs; without one it is nobody's.

Reading needs an auditor, and a view that takes anything else an operator, its form included, unless it says `needs`.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from flask import Blueprint

from manager.current import demand_everything
from manager.principals import Role

_READING = {"GET", "HEAD", "OPTIONS"}


class UiBlueprint(Blueprint):
    """A blueprint under /ui."""

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Callable[..., Any] | None = None,
        provide_automatic_options: bool | None = None,
        **options: Any,
    ) -> None:
        """Register a view, marked with the role that it needs."""
        if view_func is not None and not hasattr(view_func, "needs_role"):
            methods = {method.upper() for method in options.get("methods") or ("GET",)}
            view_func.needs_role = Role.AUDITOR if methods <= _READING else Role.OPERATOR  # type: ignore[attr-defined]
        super().add_url_rule(rule, endpoint, view_func, provide_automatic_options, **options)


def needs[View: Callable[..., Any]](role: Role, *, everything: bool = False) -> Callable[[View], View]:
    """Mark a view with the role that it needs, and whether for all projects. To be written below the route."""

    def mark(view: View) -> View:
        guarded = of_everything(view) if everything else view
        guarded.needs_role = role  # type: ignore[attr-defined]
        return guarded

    return mark


def of_everything[View: Callable[..., Any]](view: View) -> View:
    """Mark a view as one of all projects: who may see some of them only is denied. To be written below the route."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        demand_everything()
        return view(*args, **kwargs)

    guarded.needs_everything = True  # type: ignore[attr-defined]
    return cast(View, guarded)


def for_everybody[View: Callable[..., Any]](view: View) -> View:
    """Mark a view as one that needs nobody to be signed in. To be written below the route."""
    view.is_open = True  # type: ignore[attr-defined]
    return view


def counted[View: Callable[..., Any]](view: View) -> View:
    """Mark a view for everybody as one that may not be used more often than the rate of the API."""
    view.is_counted = True  # type: ignore[attr-defined]
    return view


blueprint = UiBlueprint("ui", "manager.ui", url_prefix="/ui", template_folder="templates")
