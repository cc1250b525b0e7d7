"""Chart specifications for Vega-Lite in one theme; colours are the page's own, so they follow light, dark and print.

Floats appear here only, rounded, and only to be drawn: every figure that is read stands in a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

Spec = dict[str, Any]

COLOURS: tuple[str, ...] = tuple(f"var(--c{number})" for number in range(1, 8))
OTHER_COLOUR = "var(--c-other)"
MOST_SERIES = len(COLOURS)

_FONT = "ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_THEME: Spec = {
    "background": "transparent",
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {"labelColor": "var(--muted)", "titleColor": "var(--muted)", "gridColor": "var(--line)",
             "domainColor": "var(--line)", "tickColor": "var(--line)", "labelFontSize": 11, "titleFontSize": 11,
             "titleFontWeight": "normal", "labelPadding": 6, "domain": False, "ticks": False},
    "axisX": {"grid": False, "domain": True, "ticks": True, "tickSize": 4, "labelFlush": True},
    "text": {"color": "var(--ink)", "fontSize": 11},
    "rule": {"color": "var(--muted)"},
}
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


def drawn(amount: Decimal | float | int | None) -> float | None:
    """A number to be drawn, not to be read."""
    if amount is None:
        return None
    value = float(amount)
    return round(value, 2 if abs(value) >= 100 else 4 if abs(value) >= 0.1 else 9)


def palette(names: Sequence[str], other: str | None = None) -> list[tuple[str, str]]:
    """Names with their colours; the gathered rest is grey."""
    pairs = [(name, COLOURS[i % MOST_SERIES]) for i, name in enumerate(names) if name != other]
    return [*pairs, (other, OTHER_COLOUR)] if other is not None and other in names else pairs


def _frame(height: int, **more: Any) -> Spec:
    return {"$schema": _SCHEMA, "width": "container", "height": height,
            "autosize": {"type": "fit-x", "contains": "padding"}, "config": _THEME, **more}


def _day_axis() -> Spec:
    return {"format": "%-d %b", "labelOverlap": "greedy", "labelSeparation": 12, "title": None, "tickCount": 8}


def _usd_axis(title: str | None = None) -> Spec:
    return {"format": "$~s", "tickCount": 5, "title": title}


def stacked_days(rows: Sequence[tuple[date, str, Decimal]], colours: Sequence[tuple[str, str]],
                 *, height: int = 260) -> Spec:
    """Daily amounts, one bar a day, stacked by series; `pick` is the series set off by the legend."""
    names = [name for name, _ in colours]
    place = {name: number for number, name in enumerate(names)}
    values = [{"d": str(day), "o": place[name], "v": drawn(amount)} for day, name, amount in rows]
    series = [{"o": number, "s": name} for number, name in enumerate(names)]
    return _frame(
        height,
        data={"values": values},
        transform=[{"lookup": "o", "from": {"data": {"values": series}, "key": "o", "fields": ["s"]}}],
        params=[{"name": "pick", "value": ""}],
        mark={"type": "bar", "width": {"band": 0.78}},
        encoding={
            "x": {"field": "d", "type": "temporal", "timeUnit": "utcyearmonthdate", "axis": _day_axis()},
            "y": {"field": "v", "type": "quantitative", "stack": "zero", "axis": _usd_axis()},
            "color": {"field": "s", "type": "nominal", "legend": None,
                      "scale": {"domain": names, "range": [colour for _, colour in colours]}},
            "order": {"field": "o", "type": "quantitative"},
            "opacity": {"condition": {"test": "pick === '' || pick === datum.s", "value": 1}, "value": 0.18},
            "tooltip": [{"field": "d", "type": "temporal", "timeUnit": "utcyearmonthdate", "title": "Day",
                         "format": "%a %-d %b %Y"},
                        {"field": "s", "type": "nominal", "title": "Name"},
                        {"field": "v", "type": "quantitative", "title": "USD", "format": ",.2f"}],
        },
    )


def share_days(rows: Sequence[tuple[date, Decimal | None]], *, title: str, height: int = 180) -> Spec:
    """One share of each day, as a line between 0 and 100 %."""
    values = [{"d": str(day), "v": drawn(share)} for day, share in rows]
    x = {"field": "d", "type": "temporal", "timeUnit": "utcyearmonthdate", "axis": _day_axis()}
    y = {"field": "v", "type": "quantitative", "scale": {"domainMin": 0},
         "axis": {"format": ".0%", "tickCount": 4, "title": None}}
    tip = [{"field": "d", "type": "temporal", "timeUnit": "utcyearmonthdate", "title": "Day",
            "format": "%a %-d %b %Y"},
           {"field": "v", "type": "quantitative", "title": title, "format": ".1%"}]
    return _frame(height, data={"values": values}, layer=[
        {"mark": {"type": "area", "color": "var(--c1)", "opacity": 0.14},
         "encoding": {"x": x, "y": y}},
        {"mark": {"type": "line", "color": "var(--c1)", "strokeWidth": 2}, "encoding": {"x": x, "y": y}},
        {"mark": {"type": "point", "opacity": 0, "size": 160}, "encoding": {"x": x, "y": y, "tooltip": tip}},
    ])


def forecast_days(actual: Sequence[tuple[date, Decimal]], ahead: Sequence[Mapping[str, Any]],
                  *, height: int = 260) -> Spec:
    """What was spent, then what is expected, with the bands that hold 80 and 95 of 100 days."""
    values: list[Spec] = [{"d": str(day), "a": drawn(amount)} for day, amount in actual]
    values += [{"d": str(row["ds"]), "f": drawn(row["yhat"]),
                **{name: drawn(row.get(name)) for name in ("lo80", "hi80", "lo95", "hi95")}} for row in ahead]
    x = {"field": "d", "type": "temporal", "timeUnit": "utcyearmonthdate", "axis": _day_axis()}

    def band(level: int, opacity: float) -> Spec:
        return {"mark": {"type": "area", "color": "var(--c1)", "opacity": opacity},
                "transform": [{"filter": f"isValid(datum.lo{level})"}],
                "encoding": {"x": x, "y": {"field": f"lo{level}", "type": "quantitative", "axis": _usd_axis()},
                             "y2": {"field": f"hi{level}"}}}

    def line(name: str, title: str, **mark: Any) -> Spec:
        y = {"field": name, "type": "quantitative", "axis": _usd_axis()}
        day = {"field": "d", "type": "temporal", "timeUnit": "utcyearmonthdate", "title": "Day",
               "format": "%a %-d %b %Y"}
        only = [{"filter": f"isValid(datum.{name})"}]
        tips = [day, {"field": name, "type": "quantitative", "title": title, "format": ",.2f"}]
        return {"transform": only, "encoding": {"x": x, "y": y}, "layer": [
            {"mark": {"type": "line", "strokeWidth": 2, **mark}},
            {"mark": {"type": "point", "opacity": 0, "size": 160}, "encoding": {"tooltip": tips}}]}

    return _frame(height, data={"values": values}, layer=[
        band(95, 0.12), band(80, 0.20),
        line("a", "Spent (USD)", color="var(--ink)"),
        line("f", "Expected (USD)", color="var(--c1)", strokeDash=[5, 3]),
    ])


def share_bars(rows: Sequence[tuple[str, str, float]], colours: Sequence[tuple[str, str]]) -> Spec:
    """Shares (group, series, value) as bars side by side within each group, between 0 and 100 %."""
    groups = list(dict.fromkeys(group for group, _, _ in rows))
    values = [{"g": group, "s": series, "v": drawn(share)} for group, series, share in rows]
    names = [name for name, _ in colours]
    return _frame(34 * len(groups) + 10, data={"values": values}, mark={"type": "bar", "height": {"band": 0.9}}, encoding={
        "y": {"field": "g", "type": "nominal", "sort": groups, "axis": {"title": None, "labelColor": "var(--ink)"}},
        "yOffset": {"field": "s", "sort": names},
        "x": {"field": "v", "type": "quantitative", "scale": {"domain": [0, 1]},
              "axis": {"grid": True, "format": ".0%", "tickCount": 5, "title": None}},
        "color": {"field": "s", "type": "nominal", "legend": None,
                  "scale": {"domain": names, "range": [colour for _, colour in colours]}},
        "tooltip": [{"field": "g", "type": "nominal", "title": "Horizon, limit"}, {"field": "s", "type": "nominal",
                    "title": "Error"}, {"field": "v", "type": "quantitative", "title": "Series", "format": ".0%"}],
    })


def waterfall(steps: Sequence[tuple[str, str, Decimal, Decimal]], texts: Sequence[str]) -> Spec:
    """Steps (name, kind, from, to) from a first total to a last, each with its amount in words beside it.

    Kinds are `total`, `up`, `down`. Where the steps are small beside the totals, the axis begins near the totals.
    """
    ends = [drawn(end) or 0.0 for *_, end in steps]
    low, high = min(ends), max(ends)
    spread = max(high - low, abs(high) * 1e-6, 0.01)
    begin = low - spread * 0.4 if low > spread else min(0.0, low - spread * 0.05)
    values = [{"n": name, "k": kind, "a": round(begin, 6) if kind == "total" and begin > 0 else drawn(start),
               "b": drawn(end), "m": max(drawn(start) or 0.0, drawn(end) or 0.0), "t": text, "i": i}
              for i, ((name, kind, start, end), text) in enumerate(zip(steps, texts, strict=True))]
    tip = [{"field": "n", "type": "nominal", "title": "Step"}, {"field": "t", "type": "nominal", "title": "USD"},
           {"field": "b", "type": "quantitative", "title": "Running total", "format": ",.2f"}]
    y = {"field": "n", "type": "nominal", "sort": {"field": "i"}, "axis": {
        "title": None, "labelLimit": 130, "labelColor": "var(--ink)"}}
    scale = {"zero": False, "nice": False, "domain": [round(begin, 6), round(high + spread * 0.45, 6)]}
    digits = 0 if spread >= 5 else 2 if spread >= 0.05 else 4
    axis = {"grid": True, "format": f"$,.{digits}f", "tickCount": 4, "title": None,
            "labelOverlap": "greedy", "labelFlush": True}
    return _frame(27 * len(steps), data={"values": values}, encoding={"y": y}, layer=[
        {"mark": {"type": "bar", "height": {"band": 0.62}, "minBandSize": 1},
         "encoding": {"x": {"field": "a", "type": "quantitative", "scale": scale, "axis": axis}, "x2": {"field": "b"},
                      "color": {"field": "k", "type": "nominal", "legend": None, "scale": {
                          "domain": ["total", "up", "down"], "range": ["var(--c1)", "var(--c6)", "var(--c3)"]}},
                      "tooltip": tip}},
        {"mark": {"type": "text", "align": "left", "dx": 6, "clip": False},
         "encoding": {"x": {"field": "m", "type": "quantitative"}, "text": {"field": "t"}}},
    ])
