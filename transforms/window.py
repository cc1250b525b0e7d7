"""Half-open windows of UTC days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from costops.transforms.errors import Usage


@dataclass(frozen=True, order=True)
class Window:
    """The days `start <= day < end`, in UTC."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise Usage(f"The window ends on {self.end}, before it starts on {self.start}: swap --from and --to.")

    @classmethod
    def of_days(cls, first: date | None, last: date | None) -> Window | None:
        """The window from a first to a last day, both included; None where neither is given."""
        if first is None and last is None:
            return None
        if first is None or last is None:
            first = last = first or last
        assert first is not None and last is not None  # noqa: S101, PT018
        if last < first:
            raise Usage(f"The last day {last} lies before the first day {first}: swap them.")
        return cls(first, last + timedelta(days=1))

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end

    def days(self) -> list[date]:
        """Every day of the window, in order."""
        return [self.start + timedelta(days=n) for n in range((self.end - self.start).days)]

    def __str__(self) -> str:
        last = self.end - timedelta(days=1)
        return str(self.start) if last <= self.start else f"{self.start} to {last}"


def month_window(month: str) -> Window:
    """The window of a month written YYYY-MM."""
    try:
        start = date.fromisoformat(f"{month}-01")
    except ValueError:
        raise Usage(f"A month is written YYYY-MM, for example 2026-10; got {month!r}.") from None
    return Window(start, (start + timedelta(days=32)).replace(day=1))


def month_of(day: date) -> str:
    """YYYY-MM of a day."""
    return f"{day:%Y-%m}"
