"""Report sections about what was spent: headline, trend, and by provider, model and team."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from costops.transforms.reports.charts import MOST_SERIES, palette, stacked_days
from costops.transforms.reports.figures import (
    between,
    count,
    day_text,
    digits_for,
    exact,
    money,
    percent,
    plural,
    ratio,
    short,
    titled,
)
from costops.transforms.reports.nightly_data import NightlyData, Part
from costops.transforms.reports.page import (
    Card,
    Cards,
    Cell,
    Chart,
    Column,
    Section,
    Switch,
    Table,
    Trace,
    count_cell,
    drawn_cell,
    money_cell,
    share_cell,
    spark_cell,
    text_cell,
)
from costops.transforms.reports.totals import (
    ZERO,
    Period,
    by_day,
    change_text,
    cost_of,
    covered,
    days_before,
    high_of,
    labels,
    last_days,
    measured,
    measures,
    month_before,
    month_to_date,
    per_thousand,
)

WINDOW = 30
_TREND = 90
_MOST_ROWS = 20
_MISSING = {"provider": "(no provider)", "model_id": "(no model)", "team": "(no team)"}
_NOUN = {"provider": "provider", "model_id": "model", "team": "team"}


def headline(data: NightlyData) -> Part:
    """The figures that one looks for first."""
    spend, day = data.spend_daily, data.day
    month, window, one = month_to_date(day), last_days(day, WINDOW), Period(day, day)
    week_ago = Period(day - timedelta(days=7), day - timedelta(days=7))
    cards: list[Card] = []
    figures: dict[str, Any] = {}
    for name, label, period, before, against in (
        ("month_to_date", f"{day:%B} to date", month, month_before(month), month_before(month).text),
        ("last_30_days", f"Last {WINDOW} days", window, days_before(window), f"the {WINDOW} days before"),
        ("latest_day", _latest(data), one, week_ago, f"the {day:%A} before"),
    ):
        now = measured(spend, period)
        old = measured(spend, before)["cost_usd"] if covered(spend, before) else None
        cards.append(Card(label, money(now["cost_usd"], symbol="$"), exact=exact(now["cost_usd"]),
                          note=f"{period.text} \u00b7 {plural(now['requests'], 'request')}",
                          change=change_text(now["cost_usd"], old, against)))
        figures[name] = {"first": period.first, "last": period.last, **_whole(now), "before": {
            "first": before.first, "last": before.last, "cost_usd": old},
            "change": ratio(now["cost_usd"] - old, old) if old else None}
    now = measured(spend, window)
    lead = "What the traffic cost at the prices that apply to you, in US dollars. Days are UTC days."
    figures["gates"] = [{"name": g.name, "value": g.value, "limit": g.limit, "failed": g.failed, "detail": g.detail}
                        for g in data.gates]
    section = Section(
        "headline", "At a glance", lead,
        (Cards(tuple(cards), "large"), Cards((_unpriced_card(now), _quality_card(data), *_more_cards(now)))),
        (Trace("out_spend_daily", f"SELECT sum(effective_cost_usd), sum(requests) FROM out_spend_daily\nWHERE "
               f"{month.sql};\n-- and the same WHERE {window.sql}, and WHERE {one.sql}"),))
    return Part("headline", section, figures)


def _latest(data: NightlyData) -> str:
    return "Yesterday" if data.generated_at.date() - data.day == timedelta(days=1) else f"Last day, {data.day:%A}"


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    names = ("list_cost_usd", "requests", "unpriced_requests", "input_tokens", "output_tokens")
    return {"cost_usd": cost_of(row), **{name: row[name] for name in names},
            "unpriced_low_usd": row["unpriced_low_usd"], "unpriced_high_usd": high_of(row)}


def _unpriced_card(now: dict[str, Any]) -> Card:
    if not now["unpriced_requests"]:
        return Card("Usage without a price", "none", note=f"every request of the last {WINDOW} days has a price",
                    tone="good")
    share = ratio(now["unpriced_requests"], now["requests"])
    digits = digits_for((now["unpriced_low_usd"], high_of(now)))
    return Card("Usage without a price", between(now["unpriced_low_usd"], high_of(now), digits=digits),
                note=f"{plural(now['unpriced_requests'], 'request')}, {percent(share)}; not in any total above",
                tone="warn")


def _quality_card(data: NightlyData) -> Card:
    failed = [gate for gate in data.gates if gate.failed]
    if not data.gates:
        return Card("Data quality", "not checked", note="no gate ran")
    if failed:
        return Card("Data quality", f"{len(failed)} of {plural(len(data.gates), 'gate')} failed", tone="bad",
                    note=", ".join(gate.name.replace("_", " ") for gate in failed))
    return Card("Data quality", "all gates pass", tone="good",
                note=plural(len(data.gates), "gate"))


def _more_cards(now: dict[str, Any]) -> list[Card]:
    tokens = now["input_tokens"] + now["output_tokens"]
    cards = [Card(f"Tokens, last {WINDOW} days", short(tokens), exact=count(tokens),
                  note=f"{short(now['input_tokens'])} in, {short(now['output_tokens'])} out")]
    saved = now["list_cost_usd"] - now["cost_usd"]
    if saved:
        cards.append(Card("Contract discounts", money(saved, symbol="$"), exact=exact(saved),
                          note=f"below list price, {percent(ratio(saved, now['list_cost_usd']))}"))
    else:
        cards.append(Card("Cost per 1,000 requests", money(per_thousand(now), symbol="$"),
                          exact=exact(per_thousand(now)), note=f"last {WINDOW} days, priced requests"))
    return cards


def trend(data: NightlyData) -> Part:
    """Spend per day, stacked by provider, model or team."""
    spend = data.spend_daily
    earliest = spend["day"].min()
    period = last_days(data.day, _TREND)
    if earliest is not None and period.first < earliest <= data.day:  # type: ignore[operator]
        period = Period(earliest, data.day)  # type: ignore[arg-type]
    charts, figures = [], []
    for key in ("provider", "model_id", "team"):
        chart, rows = _stacked(data, period, key)
        charts.append(chart)
        figures += rows
    peak = max(zip(period.days, _sums(by_day(spend, period, "provider"), len(period.days)), strict=True),
               key=lambda pair: pair[1])
    lead = f"{period.text}. The dearest day was {day_text(peak[0])} with {money(peak[1], symbol='$')}."
    sql = (f"SELECT day, provider, sum(effective_cost_usd) AS cost_usd FROM out_spend_daily\n"
           f"WHERE {period.sql}\nGROUP BY day, provider ORDER BY day, provider;\n-- likewise by model_id and team")
    return Part("trend", Section("trend", "Spend per day", lead, (Switch("Stack by", tuple(charts)),),
                                 (Trace("out_spend_daily", sql),)), figures)


def _sums(series: dict[Any, list[Decimal]], length: int) -> list[Decimal]:
    return [sum((values[i] for values in series.values()), ZERO) for i in range(length)]


def _stacked(data: NightlyData, period: Period, key: str) -> tuple[Chart, list[dict[str, Any]]]:
    series = by_day(data.spend_daily, period, key)
    ranked = sorted(series, key=lambda name: (-sum(series[name]), name is None, str(name)))
    top = ranked if len(ranked) <= MOST_SERIES else ranked[: MOST_SERIES - 1]
    names = labels(top, _MISSING[key])
    lines = [(names[value], series[value]) for value in top]
    other = None
    if rest := ranked[len(top):]:
        other = f"all {len(rest)} others"
        while other in names.values():
            other += " "
        lines.append((other, _sums({value: series[value] for value in rest}, len(period.days))))
    colours = palette([name for name, _ in lines], other)
    rows = [(day, name, values[i]) for name, values in lines for i, day in enumerate(period.days)]
    digits = digits_for(amount for _, values in lines for amount in values)
    total = _sums(dict(lines), len(period.days))
    table = Table(
        f"Spend per day and {_NOUN[key]}, US dollars",
        (Column("Day", "day"), *(Column(name, "number") for name, _ in lines), Column("Total", "number")),
        tuple((Cell(day_text(day)), *(drawn_cell(values[i], digits=digits) for _, values in lines),
               drawn_cell(total[i], digits=digits)) for i, day in reversed(list(enumerate(period.days)))))
    chart = Chart(
        f"trend-{_NOUN[key]}", f"By {_NOUN[key]}",
        f"Stacked bars of daily spend by {_NOUN[key]}, {period.text}; the table below has the same numbers.",
        stacked_days([row for row in rows if row[2]], colours), table, tuple(colours))
    figures = [{"day": day, "by": _NOUN[key], "name": value, "cost_usd": series[value][i]}
               for value in ranked for i, day in enumerate(period.days) if series[value][i]]
    return chart, figures


def breakdown(data: NightlyData, key: str) -> Part:
    """Spend of the last 30 days by one dimension: share, trend, requests, tokens, unit cost."""
    spend, period = data.spend_daily, last_days(data.day, WINDOW)
    before = days_before(period)
    fair = covered(spend, before)
    keys = [key] if key != "model_id" else ["provider", "model_id"]
    frame = measures(period.of(spend), keys)
    old = {tuple(row[name] for name in keys): row["cost_usd"]
           for row in measures(before.of(spend), keys).iter_rows(named=True)} if fair else {}
    total = measured(spend, period)
    lines = _daily(data, period, keys)
    rows: list[tuple[Cell, ...]] = []
    figures = []
    digits = digits_for((total["cost_usd"],))
    for row in frame.iter_rows(named=True):
        place = tuple(row[name] for name in keys)
        earlier = old.get(place, ZERO) if fair else None
        figures.append({**{name: row[name] for name in keys}, **_whole(row), "before_cost_usd": earlier,
                        "share": ratio(cost_of(row), total["cost_usd"]),
                        "cost_per_1000_requests_usd": per_thousand(row), "daily_cost_usd": lines[place]})
        if len(rows) < _MOST_ROWS:
            sub = str(row["provider"]) if key == "model_id" else ""
            if row["unpriced_requests"]:
                sub = " \u00b7 ".join(filter(None, (sub, f"{plural(row['unpriced_requests'], 'request')} unpriced")))
            rows.append((text_cell(row[key], missing=_MISSING[key], sub=sub), *_numbers(row, total, digits),
                         _moved(row["cost_usd"], earlier), spark_cell(lines[place]), *_volume(row)))
    noun = _NOUN[key]
    hidden = frame.height - len(rows)
    table = Table(
        f"Spend by {noun}, {period.text}",
        (Column(titled(noun)), Column("Cost (USD)", "number"), Column("Share", "bar"), Column("Change", "number"),
         Column("Trend", "spark"), Column("Requests", "number"), Column("Input tokens", "number"),
         Column("Output tokens", "number"), Column("Per 1,000 requests", "number")),
        tuple(rows), foot=(Cell("Total"), money_cell(total["cost_usd"], digits=digits), Cell(""), Cell(""),
                           Cell(""), *_volume(total)),
        note=f"{plural(hidden, noun)} with less spend not listed here; all are in report.json." if hidden else "",
        empty="No usage in these days.")
    lead = f"{period.text}. Change is against the {WINDOW} days before." if fair else f"{period.text}."
    sql = (f"SELECT {', '.join(keys)}, sum(effective_cost_usd) AS cost_usd, sum(requests) AS requests,\n"
           f"    sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens\nFROM out_spend_daily\n"
           f"WHERE {period.sql}\nGROUP BY {', '.join(keys)} ORDER BY cost_usd DESC;")
    section = Section(f"by-{noun}", f"By {noun}", lead, (table,), (Trace("out_spend_daily", sql),))
    return Part(f"by_{noun}", section, figures)


def _daily(data: NightlyData, period: Period, keys: list[str]) -> dict[Any, list[Decimal]]:
    place = {day: i for i, day in enumerate(period.days)}
    out: dict[Any, list[Decimal]] = {}
    grouped = measures(period.of(data.spend_daily), [*keys, "day"])
    for row in grouped.iter_rows(named=True):
        key = tuple(row[name] for name in keys)
        out.setdefault(key, [ZERO] * len(place))[place[row["day"]]] = row["cost_usd"]
    return out


def _numbers(row: dict[str, Any], total: dict[str, Any], digits: int) -> tuple[Cell, ...]:
    if cost_of(row) is None:
        return Cell("no price", tone="warn"), Cell("")
    return money_cell(row["cost_usd"], digits=digits), share_cell(ratio(row["cost_usd"], total["cost_usd"]))


def _moved(now: Decimal, before: Decimal | None) -> Cell:
    if before is None:
        return Cell("\u2013")
    if before == 0:
        return Cell("new" if now else "\u2013")
    return Cell(percent(ratio(now - before, before), sign=True), exact=f"before: {exact(before)}")


def _volume(row: dict[str, Any]) -> tuple[Cell, ...]:
    unit = per_thousand(row)
    return (count_cell(row["requests"]), count_cell(row["input_tokens"], brief=True),
            count_cell(row["output_tokens"], brief=True), money_cell(unit, digits=digits_for((unit,))))
