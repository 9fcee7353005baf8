"""What a template shows of a field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manager.ui.form_fields import Choice, Field, Kind
from shared.models import WINDOWS, Measure, OnOutage, Scope, Window

# So many rows are offered beside those that there are, for whoever has no scripts.
SPARE_ROWS = 2


@dataclass(frozen=True)
class Widget:
    """A field with its value (limits: with its rows), the attributes that its control has, and what is wrong.

    `present` is what there is now, if that was changed by somebody else.
    """

    field: Field
    value: Any
    attributes: Mapping[str, str]
    choices: Sequence[Choice]
    is_required: bool
    errors: Sequence[str]
    present: str | None = None

    @property
    def id(self) -> str:
        """What labels refer to."""
        return f"field-{self.field.name.replace('.', '-')}"

    @property
    def described_by(self) -> str:
        """The ids of its help and its errors."""
        ids = [f"{self.id}-help"] if self.field.help else []
        ids += [f"{self.id}-present"] if self.present is not None else []
        return " ".join([*ids, *([f"{self.id}-error"] if self.errors else [])])

    @property
    def has_named_blank(self) -> bool:
        """Whether one of its choices is that of nothing, and says what that means."""
        return any(not choice.value for choice in self.choices)

    @property
    def rows(self) -> Sequence[Mapping[str, str]]:
        """Rows of limits, and some that are empty."""
        return [*self.value, *({} for _ in range(SPARE_ROWS))] if self.field.kind is Kind.LIMITS else []

    @property
    def measures(self) -> Sequence[tuple[str, str, str]]:
        """What can be limited: its name, what it is called, and the windows that it is limited in."""
        return [(measure.value, _MEASURES[measure], " ".join(self._windows(measure))) for measure in Measure]

    def _windows(self, measure: Measure) -> list[str]:
        # A token's requests in all are its `max_requests`.
        is_other = (self.field.scope, measure) == (Scope.TOKEN, Measure.REQUESTS)
        return [window.value for window in Window if window in WINDOWS[measure] and not (is_other and window == "life")]

    @property
    def windows(self) -> Sequence[tuple[str, str]]:
        """In which time: its name, and what it is called."""
        return [(window.value, "in all" if window is Window.LIFE else f"per {window}") for window in Window]

    @property
    def outages(self) -> Sequence[tuple[str, str]]:
        """What holds while Redis cannot count: its name, and what it is called."""
        return [(each.value, _OUTAGES[each]) for each in OnOutage]


_MEASURES = {measure: measure.value.replace("_", " ").capitalize() for measure in Measure}
_OUTAGES = {
    OnOutage.CLOSED: "Outage: refuse",
    OnOutage.OPEN: "Outage: let pass",
    OnOutage.LOCAL_SHARE: "Outage: share",
}
