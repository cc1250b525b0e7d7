"""Contracts from the configuration to the month's tables and report."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import polars as pl
import pytest

from costops.flows.command import main
from tests.unit.flows.conftest import NOON, Workspace, body

MODEL = "gpt-4o-2024-08-06"
CONTRACTS = """
[[contracts]]
name = "units"
provider = "openai"
kind = "provisioned"
model_id = "gpt-4o-2024-08-06"
start = "2026-10-01"
end = "2026-10-16"
amount_usd = "310"

[[contracts]]
name = "minimum"
provider = "openai"
kind = "commitment"
period = "year"
start = "2025-11-01"
amount_usd = "500"
drawn_usd = "400"

[[contracts]]
name = "grant"
provider = "openai"
kind = "credit"
start = "2026-01-01"
end = "2026-12-15"
amount_usd = "20"
"""
DAY = 86_400
BILL = f"""month,model,meter,tokens,amount_usd,category,description
2026-10,{MODEL},input,10000000,25.00,Usage,
2026-10,{MODEL},output,1000000,10.00,Usage,
2026-10,,,,150.00,Purchase,Scale tier units
2026-10,,,,65.00,Purchase,minimum not reached
2026-10,,,,-20.00,Credit,Promotional grant
"""


class Month(Workspace):
    """A month in which the first half of the requests is served by throughput, the other half by the token."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.sources += '[[sources]]\nname = "bill"\nkind = "generic.bill"\nuri = "bill.csv"\nissuer = "openai"\n'
        self.configure(CONTRACTS)
        (home / "bill.csv").write_text(BILL)
        self.log("october.jsonl", [
            body(number, at=NOON - DAY * (number if number < 10 else number + 10), taken=1_000_000, made=100_000)
            for number in (*range(10), *range(10, 16))])

    def reconcile(self) -> tuple[int, dict[str, Any]]:
        self.run()
        code = main(["reconcile", "--month", "2026-10", "--config", str(self.home / "costops.toml"), "-q"])
        return code, json.loads((self.report / "report.json").read_text())

    @property
    def report(self) -> Path:
        return self.home / "reports" / "reconciliation" / "2026-10"


@pytest.fixture
def month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Month:
    monkeypatch.setenv("COSTOPS_NOW", "2026-11-10T06:00:00+00:00")
    return Month(tmp_path)


def contracts(month: Month) -> dict[str, dict[str, Any]]:
    return {row["contract"]: row for row in month.read("out_contract").iter_rows(named=True)}


def test_what_throughput_serves_is_covered_while_the_contract_holds(month: Month) -> None:
    month.run()
    rows = month.read("core_charge").group_by("price_status").agg(
        pl.len(), pl.col("list_cost_usd").sum(), first=pl.col("day").min(), last=pl.col("day").max()).sort("price_status")
    assert rows.rows() == [("covered", 6, Decimal(0), date(2026, 10, 4), date(2026, 10, 9)),
                           ("priced", 10, Decimal(35), date(2026, 10, 20), date(2026, 10, 29))]


def test_every_dollar_of_the_bill_is_matched_or_agreed_by_a_contract(month: Month) -> None:
    code, told = month.reconcile()
    assert code == 0
    causes = month.read("out_reconciliation").select("cause", "cause_usd", "agreed", "contract").sort("cause_usd")
    assert causes.rows() == [("credit", Decimal(-20), True, "grant"), ("commitment", Decimal(215), True, "minimum units")]
    assert Decimal(told["total"]["unexplained_usd"]) == 0
    assert told["gates"][0]["passed"]


def test_contracts_stand_where_their_arithmetic_says(month: Month) -> None:
    month.reconcile()
    held = contracts(month)
    assert {name: (row["expected_usd"], row["billed_usd"], row["as_agreed"]) for name, row in held.items()} == {
        "units": (Decimal(150), Decimal(150), True), "minimum": (Decimal(65), Decimal(65), True),
        "grant": (Decimal(-20), Decimal(-20), True)}
    assert (held["minimum"]["drawn_before_usd"], held["minimum"]["drawn_usd"], held["minimum"]["shortfall_usd"]) == (
        Decimal(400), Decimal(35), Decimal(65))
    assert (held["units"]["served_quantity"], held["units"]["served_list_usd"]) == (Decimal(6_600_000), Decimal(21))


def test_list_effective_and_billed_cost_stay_apart(month: Month) -> None:
    month.reconcile()
    usage = month.read("out_reconciliation_line").filter(pl.col("kind") == "usage")
    assert usage["computed_usd"].sum() == usage["billed_usd"].sum() == Decimal(35)
    assert usage["computed_effective_usd"].sum() == Decimal(35 + 150)
    assert set(usage.filter(pl.col("covered_quantity") > 0)["contract"].to_list()) == {"units"}


def test_a_shortfall_that_the_bill_forgets_and_a_credit_that_it_cuts_are_told(month: Month) -> None:
    (month.home / "bill.csv").write_text(
        "\n".join(line for line in BILL.replace("-20.00", "-15.00").splitlines() if "minimum" not in line) + "\n")
    told = {row["kind"]: (row["subject"], Decimal(row["amount_usd"])) for row in month.reconcile()[1]["learnings"]}
    assert told["shortfall_due"] == ("minimum", Decimal(65))
    assert told["contract_differs"] == ("grant", Decimal(5))


def test_a_credit_of_which_the_month_before_drew_has_less_left(month: Month) -> None:
    (month.home / "bill.csv").write_text(BILL + "2026-09,gpt-4o-2024-08-06,input,2000000,5.00,Usage,\n")
    month.log("september.jsonl", [body(99, at=NOON - 40 * DAY, taken=2_000_000, made=0)])
    month.run(stages=("ingest", "spend", "reconcile"))
    rows = month.read("out_contract").filter(pl.col("contract") == "grant").sort("month")
    assert rows.select("month", "drawn_before_usd", "drawn_usd", "remaining_usd").rows() == [
        ("2026-09", Decimal(0), Decimal(5), Decimal(15)), ("2026-10", Decimal(5), Decimal(15), Decimal(0))]


def test_the_report_and_the_workbook_show_the_contracts(month: Month) -> None:
    month.reconcile()
    page = (month.report / "report.html").read_text()
    assert "prepaid credit, OpenAI" in page
    assert "provisioned throughput, OpenAI" in page
    with ZipFile(month.report / "report.xlsx") as book:
        assert b'name="contracts"' in book.read("xl/workbook.xml")


@pytest.mark.parametrize(("wrong", "said"), [
    ('kind = "credit"\nstart = "2026-10-01"', "needs an `amount_usd`"),
    ('start = "2026-10-01"', "needs a `discount_pct`"),
    ('discount_pct = "5"\nstart = "2026-10-01"\nend = "2026-10-01"', "the first day on which it no longer holds"),
])
def test_a_contract_that_says_nothing_is_refused(month: Month, wrong: str, said: str,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    month.configure(f'[[contracts]]\nname = "c"\nprovider = "openai"\n{wrong}\n')
    assert main(["config", "validate", "--config", str(month.home / "costops.toml")]) == 2
    assert said in capsys.readouterr().err
