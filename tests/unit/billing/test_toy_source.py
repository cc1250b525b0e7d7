"""The how-to's example as it stands there: a new kind of bill in one small module."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from costops.transforms.billing.bill import Batch, BillFormat, Delivery, Input, Options
from costops.transforms.billing.lint import lint
from costops.transforms.billing.meaning import MAPPED, Meaning, understand, unmapped
from costops.transforms.billing.plan import plan_by_time
from costops.transforms.billing.rows import MEANINGS, Place, billed, col
from costops.transforms.billing.sheets import read_sheets
from costops.transforms.billing.snapshot import read_bill
from costops.transforms.check import check
from costops.transforms.tables import CORE_BILLING
from tests.unit.billing.bills import write

HOW_TO = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "add-a-source.md"


def toy_line(what: str | None) -> Meaning:
    """What a line of Toy's bill is about."""
    model, _, kind = (what or "").partition("/")
    unit = {"input": "uncached_input", "output": "output"}.get(kind)
    return Meaning(MAPPED, model, unit, "standard", provider="toy") if unit else unmapped("toy")


def _rows(text: pl.DataFrame, item: Input, options: Options) -> Batch:
    frame = understand(text, ["what"], toy_line)
    facts = {"BilledCost": col(frame, "cost"), "ChargePeriodStart": col(frame, "when"),
             "ChargeDescription": pl.col("what"), **MEANINGS}
    return billed(frame, facts, Place(item, options, ("ChargeDescription",), defaults={
        "InvoiceIssuerName": "Toy", "ServiceName": "Toy API", "BillingCurrency": "USD"}))


def read(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """The rows of the files."""
    yield from read_sheets(delivery, options, str.strip, _rows)


FORM = BillFormat("toy.bill", "core_billing", "period", plan_by_time, read)
BILL = "when;what;cost\n2026-10-01;toy-1/input;0.1\n2026-10-01;toy-1/output;0.20\n2026-10-02;toy-1/magic;3\n"


def test_the_toys_bill_comes_in_whole_and_a_newer_one_supersedes(tmp_path: Path) -> None:
    files = [write(tmp_path, "as_of=2026-11-01/toy.csv", BILL),
             write(tmp_path, "as_of=2026-11-05/toy.csv", BILL.replace("0.20", "0.25"))]
    made = read_bill(FORM, files, Options("toy"))
    frame = check(made.billing, CORE_BILLING)
    assert frame["BilledCost"].sum() == Decimal("3.35")
    assert made.history["BilledCost"].sum() == Decimal("3.3")
    assert frame.filter(pl.col("x_MappingStatus") == "unmapped")["BilledCost"].to_list() == [Decimal(3)]
    assert set(frame["x_SourceRowId"]) == set(made.history["x_SourceRowId"])
    assert lint(frame).filter(pl.col("severity") == "error").rows() == []
    assert made.findings.height == 0


def test_the_how_to_shows_the_code_that_runs_here() -> None:
    shown = re.findall(r"```python\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    here = Path(__file__).read_text(encoding="utf-8")
    for block in shown[:2]:
        for part in block.strip().split("\n\n\n"):
            assert part.strip() in here


@pytest.mark.parametrize("kind", ["toy.bill"])
def test_its_registration_is_one_line(kind: str) -> None:
    assert f'BillFormat("{kind}", "core_billing", "period", plan_by_time, read)' in HOW_TO.read_text(encoding="utf-8")
