"""The page kit: cards, tables and charts to one self-contained HTML file.

Everything is escaped by the template; scripts and styles are admitted by their hash; charts get their rows from a
JSON island that no name can break out of.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from costops.transforms.reports.figures import count, exact, money, percent, plain, short

_JSON_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


@dataclass(frozen=True)
class Cell:
    """What stands in one cell: text, the exact value behind it, a second line, or a drawing of our own."""

    text: str
    exact: str = ""
    sub: str = ""
    tone: str = ""
    drawing: Markup | None = None


@dataclass(frozen=True)
class Column:
    """A heading and how the cells under it are set: `text`, `day`, `number`, `bar`, `spark`, `code`."""

    title: str
    kind: str = "text"


@dataclass(frozen=True)
class Table:
    """A table with an optional row of totals; the caption is shown where it is `headed`."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    foot: tuple[Cell, ...] = ()
    note: str = ""
    empty: str = "Nothing to list."
    headed: bool = False
    kind: str = field(default="table", init=False)

    @property
    def stacked(self) -> bool:
        """True where the rows read better one under the other on a phone."""
        return any("long" in column.kind or "code" in column.kind for column in self.columns)


@dataclass(frozen=True)
class Chart:
    """A chart, what it shows in a sentence, its legend (name, colour) and the same numbers as a table."""

    name: str
    title: str
    summary: str
    spec: Mapping[str, Any]
    table: Table
    legend: tuple[tuple[str, str], ...] = ()
    kind: str = field(default="chart", init=False)


@dataclass(frozen=True)
class Switch:
    """Charts of which one is shown at a time."""

    label: str
    charts: tuple[Chart, ...]
    kind: str = field(default="switch", init=False)


@dataclass(frozen=True)
class Card:
    """One headline figure."""

    label: str
    value: str
    note: str = ""
    change: str = ""
    tone: str = ""
    exact: str = ""


@dataclass(frozen=True)
class Cards:
    """Headline figures side by side."""

    cards: tuple[Card, ...]
    size: str = ""
    kind: str = field(default="cards", init=False)


@dataclass(frozen=True)
class Note:
    """A sentence or two; `tone` is empty, `good`, `warn` or `bad`."""

    text: str
    tone: str = ""
    kind: str = field(default="note", init=False)


@dataclass(frozen=True)
class Fields:
    """Names and values, for a sign-off or the facts of a run; an empty value is a line to write on."""

    rows: tuple[tuple[str, str], ...]
    kind: str = field(default="fields", init=False)


Block = Table | Chart | Switch | Cards | Note | Fields


@dataclass(frozen=True)
class Trace:
    """Where the numbers of a section come from."""

    dataset: str
    sql: str


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    name: str
    title: str
    lead: str
    blocks: tuple[Block, ...]
    traces: tuple[Trace, ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    footer: str = ""


def text_cell(value: object, *, missing: str = "(none)", sub: str = "", longest: int = 120) -> Cell:
    """A name as it is, without what could disturb the page."""
    return Cell(missing if value is None or value == "" else plain(value, longest=longest), sub=sub)


def money_cell(amount: Decimal | None, *, digits: int = 2, sign: bool = False, tone: str = "") -> Cell:
    """Rounded dollars, the exact amount behind them."""
    return Cell(money(amount, digits=digits, sign=sign), exact=exact(amount), tone=tone)


def drawn_cell(amount: Decimal, *, digits: int = 2) -> Cell:
    """Rounded dollars of a table beside a chart, where all digits would make the page too large."""
    return Cell(money(amount, digits=digits))


def count_cell(number: int | None, *, brief: bool = False) -> Cell:
    """A whole number; a brief one has the exact number behind it."""
    return Cell(short(number) if brief else count(number), exact=count(number) if brief and number else "")


def share_cell(share: Decimal | None) -> Cell:
    """A share in percent with its bar."""
    return Cell(percent(share), drawing=_bar(share or Decimal(0)))


def _bar(share: Decimal) -> Markup:
    width = max(Decimal(0), min(Decimal(1), share)) * 100
    return Markup('<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
                  '<rect class="rail" width="100" height="6" rx="3"/>'
                  '<rect class="fill" width="{}" height="6" rx="3"/></svg>').format(f"{width:.1f}")


def spark_cell(values: Sequence[Decimal]) -> Cell:
    """A trend as a small line; drawn from the exact values, one decimal of a pixel is enough."""
    if not any(values):
        return Cell("")
    wide, high, pad = 96, 22, 2
    top, bottom = max(*values, Decimal(0)), min(*values, Decimal(0))
    span, last = top - bottom, max(len(values) - 1, 1)
    points = [(pad + Decimal(i * (wide - 2 * pad)) / last, pad + (top - value) * (high - 2 * pad) / span)
              for i, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Cell("", drawing=Markup(
        '<svg class="spark" viewBox="0 0 {0} {1}" width="{0}" height="{1}" aria-hidden="true">'
        '<polyline points="{2}"/><circle cx="{3}" cy="{4}" r="1.8"/></svg>'
    ).format(wide, high, line, f"{points[-1][0]:.1f}", f"{points[-1][1]:.1f}"))


def json_island(value: object) -> Markup:
    """JSON for a script element: no `<`, `>`, `&` or line separator survives in it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(_JSON_ESCAPES))  # noqa: S704 -- escaped on this line


def charts_of(sections: Iterable[Section]) -> dict[str, Mapping[str, Any]]:
    """The specifications of all charts by name."""
    found: dict[str, Mapping[str, Any]] = {}
    for block in (block for section in sections for block in section.blocks):
        inside = (block,) if isinstance(block, Chart) else block.charts if isinstance(block, Switch) else ()
        found.update((chart.name, chart.spec) for chart in inside)
    return found


def render(page: Page) -> str:
    """The page as one file: no request leaves it, no script but ours runs in it."""
    specs = charts_of(page.sections)
    scripts = [_bundle(), _asset("page.js")] if specs else [_asset("page.js")]
    style = _asset("page.css")
    policy = "; ".join((
        "default-src 'none'",
        "script-src " + " ".join(_hash(script) for script in scripts),
        "style-src " + _hash(style),
        "style-src-attr 'unsafe-inline'",            # Vega sets cursor and font of its SVG in style attributes
        "img-src data:", "base-uri 'none'", "form-action 'none'",
    ))
    return _templates().get_template("page.html.j2").render(
        page=page, policy=policy, style=Markup(style), specs=json_island(specs) if specs else None,  # noqa: S704
        scripts=[Markup(script) for script in scripts],  # noqa: S704 -- our own assets
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    text = files("costops.transforms.reports").joinpath("templates", name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that is safe inside a script element."""
    import vl_convert  # ten megabytes, which a run that makes no report need not hold

    script: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return script.replace("\r", "").replace("</script", "<\\/script").replace("<!--", "<\\!--")


@cache
def _templates() -> Environment:
    return Environment(loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
