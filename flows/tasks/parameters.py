"""What a person may choose when starting a flow; Prefect draws its form from these types."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from costops.flows.runtime.settings import Settings
from costops.transforms.errors import Usage, nearest
from costops.transforms.window import Window

MOST_DAYS = 1100

Stage = Literal["ingest", "price", "spend", "reconcile", "detect", "forecast", "budget", "publish"]


class DateRange(BaseModel):
    """Whole UTC days, both ends included."""

    model_config = ConfigDict(extra="forbid", title="Days")

    # the positions: PostgreSQL keeps the names of a schema in an order of its own, and the form would begin with the end
    start: date = Field(title="First day", description="First UTC day to write.", json_schema_extra={"position": 0})
    end: date = Field(title="Last day", description="Last UTC day to write; it is included.",
                      json_schema_extra={"position": 1})

    @model_validator(mode="after")
    def _in_order(self) -> DateRange:
        if self.end < self.start:
            raise ValueError(f"the last day {self.end} lies before the first day {self.start}: swap them")
        if (self.end - self.start).days >= MOST_DAYS:
            raise ValueError(f"{(self.end - self.start).days + 1} days; at most {MOST_DAYS} in one go: "
                             "do it year by year")
        return self

    @property
    def window(self) -> Window:
        """The same as a half-open window."""
        window = Window.of_days(self.start, self.end)
        assert window is not None  # noqa: S101  both ends are given
        return window


def date_range(given: DateRange | dict[str, Any]) -> DateRange:
    """A range from the form or from plain values; what is wrong with it is a usage error."""
    if isinstance(given, DateRange):
        return given
    try:
        return DateRange.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        text = str(first["msg"]).removeprefix("Value error, ")
        raise Usage(f"days{'.' + where if where else ''}: {text}.") from None


def known_sources(settings: Settings, names: Sequence[str] | None) -> tuple[str, ...]:
    """The sources asked for, in order; one that is not configured is refused before anything is read."""
    known = [source.name for source in settings.sources]
    for name in names or ():
        if name not in known:
            raise Usage(f"No source is called {name!r}; {nearest(name, known)}")
    return tuple(names or ())
