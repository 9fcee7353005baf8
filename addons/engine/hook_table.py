"""Which rooms listen to which hook, found once: mitmproxy asks every addon about every event, several times."""

import inspect
from collections.abc import Awaitable, Callable, Generator, Hashable
from dataclasses import fields
from functools import cache
from types import MethodType
from typing import Any, cast

from mitmproxy import exceptions, hooks
from mitmproxy.addonmanager import AddonManager, safecall
from mitmproxy.master import Master

type Listener = Callable[..., Awaitable[None] | None]
# What is left of a hook: it gives what has to be awaited, and is told how that ended.
type Steps = Generator[Awaitable[None], None, None]


class HookTable(AddonManager):
    """mitmproxy's addon manager with a memory; a change of the addons clears it.

    Listeners stand in groups, one for each addon of the chain: where one raises, the rest of its group is passed over.
    """

    def __init__(self, master: Master) -> None:
        super().__init__(master)  # type: ignore[no-untyped-call]
        self._groups: dict[str, tuple[tuple[Listener, ...], ...]] = {}

    def has_listeners(self, event: hooks.Hook) -> bool:
        """Tell whether any addon listens to this kind of event."""
        return bool(self._listeners(event))

    def call(self, event: hooks.Hook) -> Steps:
        """Call the listeners one after the other, as far as nothing has to be awaited."""
        groups = self._listeners(event)
        arguments = arguments_of(event) if groups else []
        for group in groups:
            try:
                for listener in group:
                    outcome = listener(*arguments)
                    if outcome is not None and inspect.isawaitable(outcome):
                        yield outcome
            except exceptions.AddonHalt:
                return
            except Exception:
                with safecall():
                    raise

    async def trigger_event(self, event: hooks.Hook) -> None:
        """Call all listeners and wait for each."""
        steps = self.call(event)
        if (first := next(steps, None)) is not None:
            await finish(steps, first)

    def add(self, *addons: object) -> None:
        """Add addons to the end of the chain."""
        super().add(*addons)  # type: ignore[no-untyped-call]
        self._groups.clear()

    def register(self, addon: object) -> object:
        """Load an addon; the script loader calls this when a script has changed."""
        self._groups.clear()
        return super().register(addon)  # type: ignore[no-untyped-call]

    def remove(self, addon: object) -> None:
        """Take an addon out."""
        super().remove(addon)  # type: ignore[no-untyped-call]
        self._groups.clear()

    def clear(self) -> None:
        """Take all addons out."""
        super().clear()  # type: ignore[no-untyped-call]
        self._groups.clear()

    def _listeners(self, event: hooks.Hook) -> tuple[tuple[Listener, ...], ...]:
        groups = self._groups.get(event.name)
        if groups is None:
            found = (
                tuple(_quickest(listener) for _, listener in self._iter_hooks(addon, event)) for addon in self.chain
            )
            groups = self._groups[event.name] = tuple(group for group in found if group)
        return groups


def arguments_of(event: hooks.Hook) -> list[Any]:
    """Return what `event.args()` returns, without looking its fields up each time."""
    kind: Any = type(event)
    return [getattr(event, name) for name in _field_names(kind)]


@cache
def _field_names(kind: Hashable) -> tuple[str, ...]:
    return tuple(each.name for each in fields(cast(Any, kind)))


def _quickest(listener: Listener) -> Listener:
    """Return how a listener is best called: rooms' guarded hooks may offer to be called without a coroutine."""
    at_once = getattr(listener, "at_once", None)
    return listener if at_once is None else MethodType(at_once, cast(MethodType, listener).__self__)


async def finish(steps: Steps, pending: Awaitable[None] | None) -> None:
    """Await what a hook's steps give until there is none left; what raises is told to them."""
    while pending is not None:
        try:
            await pending
        except BaseException as error:
            pending = _thrown(steps, error)
        else:
            pending = next(steps, None)


def _thrown(steps: Steps, error: BaseException) -> Awaitable[None] | None:
    try:
        return steps.throw(error)
    except StopIteration:
        return None
