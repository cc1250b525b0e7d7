"""The month in the group's currency, and the gate on what providers count and nobody logs."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from costops.flows.command import main
from tests.unit.flows.conftest import NOON, Workspace, body

MODEL, MIDNIGHT = "gpt-4o-2024-08-06", NOON - 43_200


class Month(Workspace):
    """Two requests, their bill in euros, and rates."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.sources += ('[[sources]]\nname = "bill"\nkind = "generic.bill"\nuri = "bill.csv"\nissuer = "openai"\n'
                         '[[sources]]\nname = "fx"\nkind = "fx_rates"\nuri = "fx.csv"\n')
        (home / "bill.csv").write_text("month,model,meter,tokens,amount,currency\n"
                                       f"2026-10,{MODEL},input,2000000,4.60,EUR\n2026-10,{MODEL},output,200000,1.84,EUR\n")
        self.rates("2026-10-01,USD,EUR,0.95,treasury,market_daily\n2026-10-30,USD,EUR,0.92,treasury,market_daily\n"
                   "2026-11-02,USD,EUR,0.90,treasury,market_daily\n2026-10-31,USD,EUR,0.92,gcp,provider_monthly\n")
        self.log("october.jsonl", [body(n, taken=1_000_000, made=100_000) for n in range(2)])
        self.group("EUR")

    def rates(self, rows: str) -> None:
        (self.home / "fx.csv").write_text(f"rate_date,base,quote,rate,source,kind\n{rows}")

    def group(self, currency: str) -> None:
        self.configure()
        path = self.home / "costops.toml"
        path.write_text(path.read_text().replace("[workspace]", f'[workspace]\nreporting_currency = "{currency}"'))

    def reconcile(self) -> tuple[dict[str, Any], str]:
        self.run()
        main(["reconcile", "--month", "2026-10", "--config", str(self.home / "costops.toml"), "-q"])
        folder = self.home / "reports" / "reconciliation" / "2026-10"
        return json.loads((folder / "report.json").read_text()), (folder / "report.html").read_text()


@pytest.fixture
def month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Month:
    monkeypatch.setenv("COSTOPS_NOW", "2026-11-10T06:00:00+00:00")
    return Month(tmp_path)


def test_the_group_s_currency_stands_beside_dollars_at_the_rate_of_the_month_s_end(month: Month) -> None:
    told, page = month.reconcile()
    (row,) = told["group_currency"]
    assert {name: Decimal(row[name]) for name in ("computed", "billed", "gap", "rate")} == {
        "computed": Decimal("6.44"), "billed": Decimal("6.44"), "gap": Decimal(0), "rate": Decimal("0.92")}
    assert row["rate_date"] == "2026-10-30"
    assert "1 USD is 0.92 EUR, the rate of 30 Oct 2026 (treasury)." in page
    assert Decimal(told["total"]["billed_usd"]) == Decimal(7)


def test_yen_have_no_cents(month: Month) -> None:
    month.rates("2026-10-30,USD,JPY,151.37,treasury,market_daily\n2026-10-30,USD,EUR,0.92,treasury,market_daily\n")
    month.group("JPY")
    (row,) = month.reconcile()[0]["group_currency"]
    assert Decimal(row["billed"]) == Decimal(1060)


def test_without_a_rate_the_report_says_so_and_stays_in_dollars(month: Month) -> None:
    month.group("CHF")
    told, page = month.reconcile()
    assert "group_currency" not in told
    assert "no source of kind fx_rates has a rate of USD to CHF" in page


def usage(input_tokens: int) -> str:
    """A page of OpenAI's usage report: one day, one model."""
    return json.dumps({"object": "page", "has_more": False, "data": [{
        "object": "bucket", "start_time": MIDNIGHT, "end_time": MIDNIGHT + 86_400, "results": [{
            "object": "organization.usage.completions.result", "input_tokens": input_tokens, "output_tokens": 200_000,
            "input_cached_tokens": 0, "input_audio_tokens": 0, "output_audio_tokens": 0, "num_model_requests": 4,
            "model": MODEL, "project_id": None, "user_id": None, "api_key_id": None, "batch": False}]}]})


@pytest.mark.parametrize(("counted", "code"), [(2_000_000, 0), (4_000_000, 1)])
def test_usage_that_providers_count_and_nobody_logs_fails_the_gate(month: Month, counted: int, code: int,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    month.sources += '[[sources]]\nname = "counted"\nkind = "openai.usage"\nuri = "usage.json"\n'
    month.configure('completeness = "0.98"\n')
    (month.home / "usage.json").write_text(usage(counted))
    assert month.run(stages=("ingest", "spend", "reconcile")) == code
    assert ("completeness" in capsys.readouterr().err) is bool(code)
