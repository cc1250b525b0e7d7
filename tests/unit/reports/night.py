"""A synthetic month that looks like a real one: 60 days, 9 teams, 12 models, 5 providers, some of it wrong."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from costops.transforms.finding import findings
from costops.transforms.reports.nightly import GateState, NightlyData
from costops.transforms.tables import CORE_INPUT, OUT_SPEND_DAILY, RUN_LEDGER

DAY = date(2026, 10, 30)
FIRST = DAY - timedelta(days=59)
MODELS: tuple[tuple[str, str, str, str], ...] = (          # provider, model, input and output price per million
    ("anthropic", "claude-sonnet-4-5-20250929", "3", "15"),
    ("anthropic", "claude-haiku-4-5-20251001", "1", "5"),
    ("anthropic", "claude-opus-4-5-20251101", "5", "25"),
    ("openai", "gpt-5.1-2025-11-13", "1.25", "10"),
    ("openai", "gpt-5-mini-2025-08-07", "0.25", "2"),
    ("openai", "text-embedding-3-large", "0.13", "0"),
    ("aws.bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", "3.3", "16.5"),
    ("aws.bedrock", "amazon.nova-pro-v1:0", "0.8", "3.2"),
    ("gcp.vertex_ai", "gemini-2.5-pro", "1.25", "10"),
    ("gcp.vertex_ai", "gemini-2.5-flash", "0.3", "2.5"),
    ("azure.ai.openai", "gpt-4.1-2025-04-14", "2", "8"),
    ("azure.ai.openai", "mistral-nemo-internal-preview", "", ""),     # nobody knows its price
)
TEAMS = ("search", "support-assistant", "data-platform", "developer-tools", "marketing", "fraud", "legal",
         "mobile", None)


def spend(scale: int = 400, seed: int = 7) -> pl.DataFrame:
    """`out_spend_daily` rows with a weekly rhythm, growth, a runaway job and an unpriced model."""
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(60):
        day = FIRST + timedelta(days=number)
        rhythm = (0.45 if day.weekday() > 4 else 1.0) * (1 + number / 150)
        for place, team in enumerate(TEAMS):
            for rank, (provider, model, price_in, price_out) in enumerate(MODELS):
                if (place * 5 + rank * 3) % 4 == 0 or (not price_in and number < 48):
                    continue
                runaway = 7 if team == "data-platform" and provider == "openai" and number in (50, 51) else 1
                requests = int(scale * rhythm * runaway * draw.uniform(0.7, 1.3) / (1 + place) / (1 + rank % 5))
                rows.append(_row(draw, day, team, (provider, model, price_in, price_out), requests))
    return pl.DataFrame(rows, schema=OUT_SPEND_DAILY.schema)


def _row(draw: random.Random, day: date, team: str | None, model: tuple[str, str, str, str],
         requests: int) -> dict[str, Any]:
    provider, name, price_in, price_out = model
    uncached = requests * draw.randint(900, 2600)
    read = int(uncached * draw.uniform(0.4, 1.6)) if provider != "azure.ai.openai" else 0
    write = read // 12 if provider == "anthropic" else 0
    output = requests * draw.randint(150, 700)
    row: dict[str, Any] = dict.fromkeys(OUT_SPEND_DAILY.columns)
    row.update(month=f"{day:%Y-%m}", day=day, source=provider.replace(".", "-"), provider=provider, model_id=name,
               service_tier="batch" if draw.random() < 0.18 else "standard", operation="chat", team=team,
               requests=requests, input_tokens=uncached + read + write, uncached_input_tokens=uncached,
               cache_read_tokens=read, cache_write_5m_tokens=write, output_tokens=output, unpriced_requests=0)
    if price_in:
        million = Decimal(1_000_000)
        cost = {"uncached_input": uncached * Decimal(price_in) / million,
                "cache_read": read * Decimal(price_in) / million / 10,
                "cache_write_5m": write * Decimal(price_in) / million * Decimal("1.25"),
                "output": output * Decimal(price_out) / million}
        row.update({f"{unit}_cost_usd": amount for unit, amount in cost.items()})
        row.update(list_cost_usd=sum(cost.values()), effective_cost_usd=sum(cost.values()))
    else:
        row.update(unpriced_requests=requests, unpriced_low_usd=Decimal(uncached) * Decimal("0.0000001"),
                   unpriced_high_usd=Decimal(uncached) * Decimal("0.000002"))
    return row


def inputs() -> pl.DataFrame:
    """`core_input` rows: one file a day and source; one day of one source is missing."""
    rows = []
    for name in ("anthropic", "aws-bedrock", "azure-ai-openai", "gcp-vertex_ai", "openai"):
        for number in range(60):
            day = FIRST + timedelta(days=number)
            if name == "azure-ai-openai" and (number in (20, 21) or number > 57):
                continue
            kept, again, bad, other = 4000 + number * 13, number % 7, int(number % 19 == 0), number % 5
            rows.append({"source": name, "input_id": f"{name}{number}", "uri": f"logs/{name}/{day}.jsonl",
                         "kind": "generic.usage", "content_sha256": "0" * 64, "rows_kept": kept, "duplicates": again,
                         "findings": bad, "non_billable": other, "lines_read": kept + again + bad + other,
                         "late_records": 0, "days": [day], "kept_by_day": [kept]})
    return pl.DataFrame(rows, schema=CORE_INPUT.schema)


def found() -> pl.DataFrame:
    """`core_finding` rows."""
    return findings([
        {"reason": "malformed_record", "source": "openai", "day": DAY, "uri": "logs/openai/2026-10-30.jsonl",
         "line": 214, "field": "usage", "expected": "an object", "actual": "text",
         "excerpt": '{"id":"resp_01","model":"gpt-5.1","usa'},
        {"reason": "malformed_record", "source": "openai", "day": DAY, "uri": "logs/openai/2026-10-29.jsonl",
         "line": 12, "excerpt": '{"id":"resp_77","model":"gpt-5-mini","usage":{"input_tok'},
        {"reason": "impossible_count", "source": "anthropic", "day": DAY, "uri": "logs/anthropic/2026-10-12.jsonl",
         "line": 3310, "field": "output_tokens", "expected": "0 or more", "actual": "-18",
         "excerpt": '{"id":"msg_018","usage":{"input_tokens":12,"output_tokens":-18}}'},
        {"reason": "missing_day", "source": "azure-ai-openai", "day": date(2026, 9, 21), "severity": "warning",
         "expected": "records on 21 Sep 2026", "actual": "none"},
        {"reason": "unpriced", "source": "azure-ai-openai", "day": DAY, "severity": "warning", "records": 1893,
         "field": "model_id", "actual": "mistral-nemo-internal-preview", "amount_usd": Decimal("4.12")},
    ])


def ledger() -> pl.DataFrame:
    """`run_ledger` rows of one run."""
    stages = [("stage", "ingest", None, "written", 4.2, None), ("source", "ingest", "openai", "written", None,
              "1 inputs read, 59 known"), ("source", "ingest", "azure-ai-openai", "failed", None, "not reached"),
              ("stage", "price", None, "unchanged", 0.2, None), ("stage", "spend", None, "written", 0.6, None)]
    rows = [{"day": DAY, "run_id": "r", "number": i, "entry": entry, "stage": stage, "source": source,
             "outcome": outcome, "seconds": seconds, "detail": detail}
            for i, (entry, stage, source, outcome, seconds, detail) in enumerate(stages)]
    rows.append({"day": DAY, "run_id": "r", "number": 9, "entry": "partition", "dataset": "out_spend_daily"})
    return pl.DataFrame(rows, schema=RUN_LEDGER.schema)


def forecast(daily: Decimal) -> pl.DataFrame:
    """`out_forecast`: thirty days ahead of `total` and of one team, of this run and of the one before."""
    rows = []
    for made in (DAY - timedelta(days=1), DAY):
        for name, share in (("total", 1.0), ("team=search", 0.32)):
            for number in range(1, 32):
                day = DAY + timedelta(days=number)
                centre = float(daily) * share * (0.5 if day.weekday() > 4 else 1.15)
                wide = 0.08 + number * 0.006
                rows.append({"day": made, "unique_id": name, "dimension": name.split("=", maxsplit=1)[0], "ds": day,
                             "yhat": centre, "lo80": centre * (1 - wide), "hi80": centre * (1 + wide),
                             "lo95": centre * (1 - 1.6 * wide), "hi95": centre * (1 + 1.9 * wide),
                             "mean": centre * 1.01, "model": "blend", "grade": "B"})
    return pl.DataFrame(rows)


def budgets() -> pl.DataFrame:
    """`out_budget`."""
    return pl.DataFrame({
        "day": [DAY, DAY], "budget": ["search", "data-platform"], "period": ["month", "month"],
        "period_start": [date(2026, 10, 1)] * 2, "amount_usd": [Decimal(400), Decimal(90)],
        "spent_usd": [Decimal("357.65"), Decimal("96.04")], "expected_total": [369.2, 99.8],
        "chance_exceeded": [0.02, 1.0], "exhausted_on": [None, date(2026, 10, 29)], "threshold": [0.8, 1.0],
        "is_breached": [False, True]})


def anomalies() -> pl.DataFrame:
    """`out_anomaly`: one incident that three series show, and a smaller one."""
    rows = [(DAY - timedelta(days=8), "total", None, 48.1, "spike", 1),
            (DAY - timedelta(days=8), "team", "data-platform", 47.2, "spike", 1),
            (DAY - timedelta(days=7), "team", "data-platform", 51.0, "spike", 1),
            (DAY - timedelta(days=8), "model_id", "gpt-5.1-2025-11-13", 39.4, "spike", 1),
            (DAY - timedelta(days=1), "team", "legal", -2.2, "drop", 2)]
    return pl.DataFrame([{"day": DAY, "unique_id": f"{name}={value}", "dimension": name, "value": value, "ds": ds,
                          "effect": effect, "kind": kind, "incident": incident, "is_sent": incident == 1,
                          "drivers": "team=data-platform 100%, model_id=gpt-5.1-2025-11-13 40%" if incident == 1 else None,
                          "cause": "volume +91.40, size +6.80" if incident == 1 else None}
                         for ds, name, value, effect, kind, incident in rows])


def scores() -> pl.DataFrame:
    """`out_forecast_score`: of all series, of the total and of one team."""
    rows: list[tuple[str, int, str, float]] = []
    for place, horizon in enumerate((7, 30, 90)):
        for name, ease in (("day", 0.0), ("total", 0.25)):
            rows += [("all", horizon, f"share_{name}_within_{limit}", round(0.3 + ease + 0.01 * limit - 0.1 * place, 3))
                     for limit in (10, 15, 20)]
            rows.append(("all", horizon, f"series_by_{name}", 23.0 - 5 * place))
        rows += [("total", horizon, "mape", 0.06 + 0.03 * place), ("total", horizon, "total_ape", 0.03 + 0.02 * place),
                 ("team=search", horizon, "mape", 0.11 + 0.03 * place), ("team=search", horizon, "total_ape", 0.08)]
    for horizon, low, high in ((7, 0.81, 0.953), (14, 0.79, 0.949), (30, 0.77, 0.885)):
        rows += [("all", horizon, "coverage80", low), ("all", horizon, "coverage95", high)]
    rows.append(("all", 7, "live_coverage95", 0.96))
    return pl.DataFrame([{"day": DAY, "unique_id": name, "dimension": name.split("=", maxsplit=1)[0], "value": name,
                          "horizon": horizon, "metric": metric, "score": score} for name, horizon, metric, score in rows])


def backtest(usage: pl.DataFrame) -> pl.DataFrame:
    """`out_backtest`: the last twenty days held out."""
    known = usage.group_by("day").agg(pl.col("list_cost_usd").sum().cast(pl.Float64)).sort("day").tail(20)
    rows = []
    for number, (day, cost) in enumerate(known.iter_rows()):
        centre = (cost or 0.0) * (0.93 + 0.007 * (number * 7 % 20))
        rows.append({"day": DAY, "unique_id": "total", "dimension": "total", "value": "total", "ds": day,
                     "cutoff": DAY - timedelta(days=20), "y": cost or 0.0, "yhat": centre, "lo80": 0.9 * centre,
                     "hi80": 1.1 * centre, "lo95": 0.82 * centre, "hi95": 1.2 * centre})
    return pl.DataFrame(rows)


def moved() -> pl.DataFrame:
    """What moved spend: two models; the parts add up."""
    return pl.DataFrame([
        {"model_id": "claude-sonnet-4-5-20250929", "days": 28, "before_usd": 900.0, "volume": 120.0, "mix": -30.0,
         "size": 44.5, "cache": -80.25, "price": 0.0, "after_usd": 954.25},
        {"model_id": "gpt-5.1-2025-11-13", "days": 28, "before_usd": 400.0, "volume": 53.3, "mix": 61.7, "size": 0.0,
         "cache": 0.0, "price": -25.0, "after_usd": 490.0}])


def night(**changes: Any) -> NightlyData:
    """All that a night can have."""
    usage = changes.pop("spend_daily", None)
    usage = spend() if usage is None else usage
    total = Decimal(usage["effective_cost_usd"].sum() or 0)
    given: dict[str, Any] = {
        "day": DAY, "generated_at": datetime(2026, 10, 31, 2, 30), "spend_daily": usage,
        "inputs": inputs(), "findings": found(), "ledger": ledger(), "run_id": "20261031T023000Z-3f9a1c",
        "program_version": "0.1.0",
        "gates": (GateState("quarantine_share", Decimal("0.0000134"), Decimal("0.001"), False, "16 of 1,193,000"),
                  GateState("unpriced_share", Decimal("0.0121"), Decimal("0.01"), True, "1,893 of 156,000 requests")),
        "price_book": (("Version", "genai-prices 0.2.3"), ("Prices", "4,812"), ("Newest price", "29 Oct 2026")),
        "price_sources": pl.DataFrame({
            "price_source": ["genai-prices 0.2.3", "configuration: contracts"], "requests": [151200, 3100],
            "list_cost_usd": [Decimal("3120.5521"), Decimal("88.10")]}),
        "forecast": forecast(total / 60), "scores": scores(), "backtest": backtest(usage), "moved": moved(),
        "budgets": budgets(), "anomalies": anomalies(),
        "recommendations": pl.DataFrame({
            "action": ["Move the nightly classification of support-assistant to the batch tier"],
            "saving_usd": [Decimal("128.40")], "detail": ["96% of its requests come between 01:00 and 04:00 UTC"]}),
    }
    return NightlyData(**{**given, **changes})


HOSTILE: tuple[str, ...] = (
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "=cmd|' /C calc'!A0", "' \" ` ; --",
    "{{ 7*7 }}{% raw %}", "\u202etxt.exe\u2066", "\u2028\u2029]]>", "<!--<b>", "javascript:alert(1)",
)


def hostile() -> NightlyData:
    """A night in which every free text field tries to break out of the page."""
    name = dict(zip(TEAMS, HOSTILE, strict=True))
    usage = spend().with_columns(
        team=pl.col("team").replace_strict(name, return_dtype=pl.String),
        provider=pl.when(pl.col("provider") == "openai").then(pl.lit(HOSTILE[1])).otherwise(pl.col("provider")),
        model_id=pl.when(pl.col("provider") == "anthropic").then(pl.lit(HOSTILE[0]) + pl.col("model_id")).otherwise(
            pl.col("model_id")))
    text = HOSTILE[1] + HOSTILE[0] + HOSTILE[4]
    wrong = findings([{"reason": "malformed_record", "source": text, "uri": text, "field": text, "expected": text,
                       "actual": text, "excerpt": text, "mend": text, "line": 1, "day": DAY}])
    return night(
        spend_daily=usage, findings=wrong, inputs=inputs().with_columns(source=pl.lit(text)), run_id=text,
        program_version=text, price_book=((text, text),), gates=(GateState(text, Decimal(2), Decimal(1), True, text),),
        ledger=ledger().with_columns(detail=pl.lit(text), source=pl.lit(text)),
        price_sources=pl.DataFrame({"price_source": [text], text: [text]}),
        recommendations=pl.DataFrame({"action": [text], text: [text]}),
        anomalies=pl.DataFrame({"kind": [text], "drivers": [text]}))
