"""The nightly report tells the truth about its frames, and no name can change the page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser

import polars as pl
import pytest
from tests.unit.reports.month import causes
from tests.unit.reports.night import DAY, HOSTILE, forecast, hostile, night, spend

from costops.transforms.finding import findings
from costops.transforms.reports.nightly import nightly_json, nightly_report
from costops.transforms.tables import OUT_SPEND_DAILY

MOST_BYTES = 1_300_000


def test_the_same_night_gives_the_same_bytes() -> None:
    assert nightly_report(night()) == nightly_report(night())
    assert nightly_json(night()) == nightly_json(night())


def test_the_order_of_rows_does_not_matter() -> None:
    mixed = spend().sample(fraction=1, shuffle=True, seed=3)
    assert nightly_json(night(spend_daily=mixed)) == nightly_json(night())


def test_one_file_of_bounded_size_without_an_address() -> None:
    html = nightly_report(night())
    assert len(html.encode()) < MOST_BYTES
    page = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    page = page.replace("https://vega.github.io/schema/vega-lite/v6.json", "")      # a name, never fetched
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", page)
    assert "http" not in page.replace("http-equiv", "")


def test_scripts_and_style_are_those_that_the_policy_names() -> None:
    html = nightly_report(night())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    named = set(re.findall(r"sha256-[A-Za-z0-9+/=]+", policy[1].replace("&#43;", "+")))
    inside = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL) + re.findall(
        r"<style>(.*?)</style>", html, flags=re.DOTALL)
    assert named == {f"sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}" for t in inside}
    assert "default-src &#39;none&#39;" in policy[1] or "default-src 'none'" in policy[1]
    assert "unsafe-eval" not in policy[1]


def tags(html: str) -> list[tuple[str, tuple[str, ...]]]:
    """Every element of a page with the names of its attributes."""
    found: list[tuple[str, tuple[str, ...]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, tuple(name for name, _ in attrs)))

    Reader().feed(html)
    return found


def test_hostile_names_are_inert_text() -> None:
    html = nightly_report(hostile())
    seen, usual = tags(html), tags(nightly_report(night()))
    assert {tag for tag, _ in seen} <= {tag for tag, _ in usual}
    assert [tag for tag, _ in seen].count("script") == 3
    assert not [name for _, names in seen for name in names if name.startswith("on")]
    assert {name for _, names in seen for name in names} <= {name for _, names in usual for name in names}
    island = re.search(r'<script type="application/json" id="charts">(.*?)</script>', html, flags=re.DOTALL)
    assert island is not None
    assert not set("<>&\u2028\u2029") & set(island[1])
    assert "trend-team" in json.loads(island[1])


def test_every_hostile_name_is_still_told_exactly_in_the_json() -> None:
    names = {row["team"] for row in json.loads(nightly_json(hostile()))["by_team"]}
    assert names == set(HOSTILE)


def test_totals_are_the_exact_sums() -> None:
    data = night()
    told = json.loads(nightly_json(data))
    for name, days in (("latest_day", 1), ("last_30_days", 30)):
        want = data.spend_daily.filter(pl.col("day") > DAY - timedelta(days=days))
        assert Decimal(told["headline"][name]["cost_usd"]) == want["effective_cost_usd"].sum()
        assert told["headline"][name]["requests"] == want["requests"].sum()
    month = data.spend_daily.filter(pl.col("month") == "2026-10")["effective_cost_usd"].sum()
    assert Decimal(told["headline"]["month_to_date"]["cost_usd"]) == month


@pytest.mark.parametrize("part", ["by_provider", "by_model", "by_team"])
def test_a_breakdown_sums_to_the_total(part: str) -> None:
    told = json.loads(nightly_json(night()))
    total = told["headline"]["last_30_days"]
    assert sum(Decimal(row["cost_usd"] or 0) for row in told[part]) == Decimal(total["cost_usd"])
    assert sum(row["requests"] for row in told[part]) == total["requests"]
    for row in told[part]:
        assert sum(map(Decimal, row["daily_cost_usd"])) == Decimal(row["cost_usd"] or 0)


def test_a_model_without_a_price_costs_unknown_and_never_zero() -> None:
    rows = {row["model_id"]: row for row in json.loads(nightly_json(night()))["by_model"]}
    row = rows["mistral-nemo-internal-preview"]
    assert row["cost_usd"] is None
    assert Decimal(row["unpriced_low_usd"]) < Decimal(row["unpriced_high_usd"])
    assert "no price" in nightly_report(night())


def test_an_unpriced_row_without_an_upper_bound_opens_the_range() -> None:
    open_end = spend().with_columns(unpriced_high_usd=pl.when(pl.col("unpriced_requests") > 0).then(None).otherwise(
        pl.col("unpriced_high_usd")).cast(pl.Decimal(38, 12)))
    told = json.loads(nightly_json(night(spend_daily=open_end)))
    assert told["headline"]["last_30_days"]["unpriced_high_usd"] is None
    assert "at least $" in nightly_report(night(spend_daily=open_end))


def test_a_change_is_told_only_against_a_period_that_the_data_cover() -> None:
    short = spend().filter(pl.col("day") > DAY - timedelta(days=35))
    told = json.loads(nightly_json(night(spend_daily=short)))
    assert told["headline"]["last_30_days"]["before"]["cost_usd"] is None
    assert told["headline"]["latest_day"]["before"]["cost_usd"] is not None


def test_the_cache_saves_what_uncached_input_would_have_cost_less_what_it_cost() -> None:
    row = dict.fromkeys(OUT_SPEND_DAILY.columns) | {
        "month": "2026-10", "day": DAY, "provider": "anthropic", "model_id": "m", "service_tier": "standard",
        "requests": 1, "unpriced_requests": 0, "input_tokens": 1700, "uncached_input_tokens": 500,
        "cache_read_tokens": 1000, "cache_write_5m_tokens": 200, "output_tokens": 0,
        "uncached_input_cost_usd": Decimal("0.0015"), "cache_read_cost_usd": Decimal("0.0003"),
        "cache_write_5m_cost_usd": Decimal("0.00075"), "effective_cost_usd": Decimal("0.00255"),
        "list_cost_usd": Decimal("0.00255")}
    told = json.loads(nightly_json(night(spend_daily=pl.DataFrame([row], schema=OUT_SPEND_DAILY.schema))))
    assert Decimal(told["cache"]["total"]["saved_usd"]) == Decimal("0.00255")     # 1,200 x 3 / M - 0.0003 - 0.00075


def test_sources_tell_gaps_and_that_records_add_up() -> None:
    rows = {row["source"]: row for row in json.loads(nightly_json(night()))["freshness"]["sources"]}
    assert rows["azure-ai-openai"]["missing_days"] == ["2026-09-21", "2026-09-22"]
    assert rows["azure-ai-openai"]["last_day"] == "2026-10-28"
    assert all(row["balanced"] for row in rows.values())
    broken = night().inputs.with_columns(lines_read=pl.col("lines_read") + 1)
    assert not any(row["balanced"] for row in json.loads(nightly_json(night(inputs=broken)))["freshness"]["sources"])


def test_sections_without_a_frame_are_left_out() -> None:
    bare = night(forecast=None, scores=None, backtest=None, moved=None, month_end=None, budgets=None,
                 anomalies=None, recommendations=None, gates=(), price_sources=None, price_book=())
    html = nightly_report(bare)
    for name in ("forecast", "accuracy", "moved", "anomalies", "recommendations", "reconciliation", "gates", "prices"):
        assert f'<section id="{name}"' not in html
    assert "not checked" in html


def test_the_month_is_expected_to_end_at_what_is_spent_and_the_mean_forecast() -> None:
    data = night()
    html = nightly_report(data)
    total = data.spend_daily.filter(pl.col("month") == "2026-10")["effective_cost_usd"].sum()
    last = forecast(Decimal(data.spend_daily["effective_cost_usd"].sum() or 0) / 60).filter(
        (pl.col("unique_id") == "total") & (pl.col("day") == DAY)).sort("ds")["mean"][0]
    want = Decimal(total or 0) + Decimal(str(round(last, 6)))
    assert "Expected for all of October" in html
    assert f"${want:,.2f}" in html


def test_days_of_an_incident_are_one_event_and_its_money_counts_once() -> None:
    html = nightly_report(night())
    section = html[html.index('<section id="anomalies"'):html.index('<section id="recommendations"')]
    assert section.count("<tr>") == 3
    assert "98.20" in section
    assert "team data-platform 100%, model gpt-5.1-2025-11-13 40%" in section
    assert "volume +91.40, size +6.80" in section
    assert section.count(">yes<") == 1


def test_the_claim_is_told_with_its_shares_and_a_band_that_left_its_range() -> None:
    html = nightly_report(night())
    section = html[html.index('<section id="accuracy"'):html.index('<section id="anomalies"')]
    assert ">65.0%<" in section                                  # within 10 % at 7 days by the period's total
    assert section.count(">left its range<") == 1
    told = json.loads(nightly_json(night()))["accuracy"]
    assert len(told["backtest"]) == 20
    assert {"horizon": 7, "metric": "share_day_within_10", "score": 0.4}.items() <= next(
        row for row in told["scores"] if row["metric"] == "share_day_within_10" and row["horizon"] == 7).items()


def test_what_moved_spend_adds_up_from_before_to_after() -> None:
    html = nightly_report(night())
    section = html[html.index('<section id="moved"'):html.index('<section id="forecast"')]
    assert "+$144.25 against the 28 days before" in section
    assert "\u2212105.25" not in section
    steps = [part for part in ("173.30", "31.70", "44.50", "80.25", "25.00") if part not in section]
    assert steps == []


def test_a_budget_that_is_overspent_says_so() -> None:
    html = nightly_report(night())
    section = html[html.index('<section id="forecast"'):html.index('<section id="accuracy"')]
    assert section.count(">over<") == 1
    assert "106.7%" in section


def test_without_all_lines_the_bills_are_told_as_gaps_only() -> None:
    frame = causes()
    part = nightly_report(night(reconciliation=frame))
    assert "Lines with a gap" in part
    assert "Computed (USD)" not in part
    lines = frame.select("month", "issuer", "computed_usd", "billed_usd", "gap_usd")
    whole = json.loads(nightly_json(night(reconciliation=frame, reconciliation_lines=lines)))["reconciliation"]
    assert sum(Decimal(row["billed_usd"]) for row in whole) == sum(lines["billed_usd"])


def test_counts_of_the_provider_are_summed_per_model_the_least_complete_first() -> None:
    frame = pl.DataFrame({"provider": ["a", "a", "b"], "model_id": ["m", "m", "n"], "day": [DAY] * 3,
                          "counted_requests": [10, 10, 5], "logged_requests": [10, 5, 5],
                          "counted_tokens": [100, 100, 50], "logged_tokens": [100, 50, 50]})
    html = nightly_report(night(completeness=frame))
    section = html[html.index('<section id="freshness"'):]
    assert section.index("75.0%") < section.index("100.0%")


def test_an_empty_lake_is_a_valid_report() -> None:
    empty = night(spend_daily=pl.DataFrame(schema=OUT_SPEND_DAILY.schema), inputs=night().inputs.head(0),
                  findings=findings([]), ledger=night().ledger.head(0), forecast=None, moved=None,
                  budgets=None, month_end=None)
    assert "No input has been read yet." in nightly_report(empty)
    assert json.loads(nightly_json(empty))["headline"]["last_30_days"]["cost_usd"] == "0.000000000000"


def test_a_name_is_listed_once_where_two_look_alike() -> None:
    twins = spend().with_columns(team=pl.when(pl.col("team") == "search").then(pl.lit("a\x00")).when(
        pl.col("team") == "fraud").then(pl.lit("a\x01")).otherwise(pl.col("team")))
    assert "a\ufffd (2)" in nightly_report(night(spend_daily=twins))


def test_a_thousand_teams_do_not_make_a_thousand_rows() -> None:
    many = spend().with_row_index("n").with_columns(team=pl.format("team-{}", "n")).drop("n")
    html = nightly_report(night(spend_daily=many.select(OUT_SPEND_DAILY.columns)))
    assert len(html.encode()) < MOST_BYTES
    assert "all are in report.json" in html


def test_each_query_of_the_report_gives_the_number_beside_it() -> None:
    duckdb = pytest.importorskip("duckdb")
    data = night()
    con = duckdb.connect()
    con.register("out_spend_daily", data.spend_daily.to_arrow())
    con.register("core_input", data.inputs.to_arrow())
    con.register("core_finding", data.findings.to_arrow())
    told = json.loads(nightly_json(data))
    sql = {row["section"]: row["sql"] for row in told["provenance"] if row["dataset"] in {
        "out_spend_daily", "core_input", "core_finding"}}
    for section in ("by_provider", "by_model", "by_team"):
        rows = con.execute(sql[section]).fetchall()
        assert sum(Decimal(row[-4] or 0) for row in rows) == Decimal(told["headline"]["last_30_days"]["cost_usd"])
        assert len(rows) == len(told[section])
    for statement in sql.values():
        con.execute(statement)
