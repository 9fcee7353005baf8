"""What reconciling found."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from manager.comparisons import Difference, raw

# Of the differences so many are named one by one; all are counted.
MOST_NAMED = 1000


@dataclass
class Report:
    """What was compared and what differed: by number, and the first ones by name."""

    compared: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    seconds: float = 0.0
    # How much was to be removed, and was not, since it was so much.
    withheld: int = 0

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not self.counts

    def add(self, differences: Iterable[Difference]) -> None:
        """Note differences."""
        for difference in differences:
            self.counts[f"{difference.kind}.{difference.problem}"] += 1
            if len(self.differences) < MOST_NAMED:
                # Names that are no UTF-8 can be neither printed nor kept in SQL.
                shown = raw(difference.id).decode(errors="backslashreplace")
                self.differences.append(replace(difference, id=shown))

    def summary(self) -> dict[str, Any]:
        """Return it without the single differences, fit for JSON."""
        counted = {"compared": dict(self.compared), "differences": dict(self.counts)}
        totals = {"total": self.counts.total(), "withheld": self.withheld, "seconds": round(self.seconds, 3)}
        return {**counted, **totals}

    def to_json(self) -> dict[str, Any]:
        """Return all of it, fit for JSON."""
        return {**self.summary(), "named": [asdict(difference) for difference in self.differences]}

    def lines(self, is_mended: bool) -> Iterator[str]:
        """Tell it in lines of text."""
        for difference in self.differences:
            fields = f" ({', '.join(difference.fields)})" if difference.fields else ""
            yield f"{difference.kind} {difference.problem}: {difference.id}{fields}"
        if self.counts.total() > len(self.differences):
            yield f"... and {self.counts.total() - len(self.differences)} more"
        compared = ", ".join(f"{count} {name}" for name, count in self.compared.items() if count) or "nothing"
        yield f"compared in {self.seconds:.1f} s: {compared}"
        verdict = f"{self.counts.total()} {'mended' if is_mended else 'different'}"
        yield "SQL and Redis agree" if self.is_equal else verdict
