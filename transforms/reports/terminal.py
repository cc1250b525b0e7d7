"""The terminal summary: spend by one dimension with share bar and trend, as a table of rich or as plain text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from costops.transforms.reports.figures import (
    between,
    count,
    digits_for,
    exact,
    money,
    percent,
    plain,
    plural,
    ratio,
    short,
)
from costops.transforms.reports.spending import WINDOW
from costops.transforms.reports.totals import (
    ZERO,
    cost_of,
    covered,
    days_before,
    high_of,
    last_days,
    measured,
    measures,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

_BAR = 14
_STEADY = Decimal("0.02")
_EIGHTHS = " \u258f\u258e\u258d\u258c\u258b\u258a\u2589\u2588"
BY: tuple[str, ...] = ("provider", "model_id", "team", "application", "project_id", "service_tier", "source",
                       "operation", "region", "account_id", "api_key_id")
"""What a summary can be by."""


@dataclass(frozen=True)
class Summary:
    """Rows of a summary, exact, and the totals under them."""

    by: str
    first: date
    last: date
    rows: tuple[dict[str, Any], ...]
    total: dict[str, Any]

    def records(self) -> list[dict[str, Any]]:
        """The rows for JSON and CSV."""
        return [dict(row) for row in self.rows]


def summary(spend: pl.DataFrame, by: str, *, day: date, days: int = WINDOW) -> Summary:
    """Spend of the last `days` days by one column, dearest first; `before_usd` is the same length of time before."""
    period = last_days(day, days)
    before = days_before(period)
    old = dict(measures(before.of(spend), [by]).select(by, "cost_usd").iter_rows()) if covered(spend, before) else None
    total = {**measured(spend, period),
             "before_usd": None if old is None else measured(spend, before)["cost_usd"]}
    rows = tuple({
        by: row[by], "cost_usd": cost_of(row), "share": ratio(cost_of(row), total["cost_usd"]),
        "before_usd": None if old is None else old.get(row[by], ZERO), "requests": row["requests"],
        "input_tokens": row["input_tokens"], "output_tokens": row["output_tokens"],
        "unpriced_requests": row["unpriced_requests"],
        "unpriced_low_usd": row["unpriced_low_usd"] if row["unpriced_requests"] else None,
        "unpriced_high_usd": high_of(row) if row["unpriced_requests"] else None,
    } for row in measures(period.of(spend), [by]).iter_rows(named=True))
    return Summary(by, period.first, period.last, rows, total)


def summary_table(found: Summary, *, most: int = 25, narrow: bool = False) -> RenderableType:
    """A table of rich; names lose control characters and are never read as markup. `narrow` leaves tokens out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(_title(found)), title_justify="left", box=None, pad_edge=False, show_footer=True,
                  header_style="bold", footer_style="bold", title_style="bold")
    shown = [place for place, (name, _) in enumerate(_COLUMNS) if not (narrow and name in _WIDE_ONLY)]
    foot = _foot(found)
    for place in shown:
        name, right = _COLUMNS[place]
        title = found.by.removesuffix("_id").replace("_", " ") if name == "name" else name
        table.add_column(Text(title), Text(foot[place]), justify="right" if right else "left", no_wrap=name != "name",
                         overflow="fold")
    for row in _lines(found, most):
        table.add_row(*(Text(row[place]) for place in shown))
    return table


def summary_text(found: Summary, *, width: int = 110, most: int = 25, colour: bool = False) -> str:
    """The table and the line about what has no price, as text."""
    from rich.console import Console

    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=colour, no_color=not colour, highlight=False,
                      emoji=False, markup=False, legacy_windows=False, color_system="standard" if colour else None)
    console.print(summary_table(found, most=most, narrow=width < 100))
    for line in notes(found, most=most):
        console.print(line)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def notes(found: Summary, *, most: int = 25) -> list[str]:
    """What the table cannot say: what has no price, and how many rows are left out."""
    lines = []
    if len(found.rows) > most:
        lines.append(f"{plural(len(found.rows) - most, 'row')} with less spend not shown")
    if found.total["unpriced_requests"]:
        low, high = found.total["unpriced_low_usd"], high_of(found.total)
        lines.append(f"not in the total: {plural(found.total['unpriced_requests'], 'request')} without a price, "
                     f"{between(low, high, digits=digits_for((low, high)))}")
    return lines


_COLUMNS: tuple[tuple[str, bool], ...] = (
    ("name", False), ("cost USD", True), ("share", False), ("", True), ("trend", True), ("requests", True),
    ("input", True), ("output", True), ("unpriced", True))
_WIDE_ONLY = frozenset({"input", "output"})


def _title(found: Summary) -> str:
    return f"Spend {found.first} to {found.last}"


def _lines(found: Summary, most: int) -> list[tuple[str, ...]]:
    digits = digits_for((found.total["cost_usd"],))
    return [(plain(row[found.by], longest=60) if row[found.by] not in (None, "") else "(none)",
             "no price" if row["cost_usd"] is None else money(row["cost_usd"], digits=digits), bar(row["share"]),
             percent(row["share"]), trend(row["cost_usd"], row["before_usd"]), count(row["requests"]),
             short(row["input_tokens"]), short(row["output_tokens"]),
             count(row["unpriced_requests"]) if row["unpriced_requests"] else "") for row in found.rows[:most]]


def _foot(found: Summary) -> tuple[str, ...]:
    row = found.total
    return ("total", money(row["cost_usd"], digits=digits_for((row["cost_usd"],))), "", "",
            trend(row["cost_usd"], row["before_usd"]), count(row["requests"]), short(row["input_tokens"]),
            short(row["output_tokens"]), count(row["unpriced_requests"]) if row["unpriced_requests"] else "")


def bar(share: Decimal | None, width: int = _BAR) -> str:
    """A bar of block characters, to an eighth of one."""
    eighths = int(max(ZERO, min(Decimal(1), share or ZERO)) * width * 8)
    full, part = divmod(eighths, 8)
    return "\u2588" * full + (_EIGHTHS[part] if part else "")


def trend(now: Decimal | None, before: Decimal | None) -> str:
    """An arrow and the change; up and down only beyond two percent."""
    if now is None or before is None:
        return ""
    if before == 0:
        return "new" if now else ""
    moved = ratio(now - before, before) or ZERO
    arrow = "\u2192" if abs(moved) < _STEADY else "\u2191" if moved > 0 else "\u2193"
    return f"{arrow} {percent(moved, sign=True)}"


def key_values(pairs: Sequence[tuple[str, object]]) -> str:
    """Names and values one under the other, aligned, without control characters."""
    wide = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(f"{name:<{wide}}  {exact(value) if isinstance(value, Decimal) else plain(value, longest=400)}"
                     for name, value in pairs)
