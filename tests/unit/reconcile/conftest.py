"""The provider-native trees as charges and bills: read and priced once, by the same code as a run."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.transforms.billing.bill import Input, Options
from costops.transforms.billing.invoices import newest
from costops.transforms.billing.kinds import BILL_FORMAT
from costops.transforms.billing.snapshot import Bills, read_bill
from costops.transforms.check import conform
from costops.transforms.tables import CORE_CHARGE, CORE_USAGE
from tests.unit.parse.test_provider_logs import Tree
from tests.unit.prices.conftest import charge_frame

SHARED = Path(os.environ.get("COSTOPS_SHARED") or Path(__file__).resolve().parents[4] / "shared")
_KINDS = ("openai.costs", "anthropic.cost_report", "aws.cur2", "gcp.billing_export", "azure.cost_export",
          "generic.bill")


@dataclass(frozen=True)
class Month:
    """A tree: its truth, its charges, its bills and invoices."""

    truth: dict[str, Any]
    charges: pl.DataFrame
    bills: Bills
    invoices: pl.DataFrame


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared real data."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED}; set COSTOPS_SHARED")
    return SHARED


def bills_of(root: Path) -> Bills:
    """The bills of a tree, by its configuration."""
    settings = tomllib.loads((root.parent / "costops.toml").read_text(encoding="utf-8"))
    made = [_read(root, source) for source in settings["sources"] if source["kind"] in _KINDS]
    return Bills(billing=pl.concat([one.billing for one in made]), history=pl.concat([one.history for one in made]),
                 snapshots=pl.concat([one.snapshots for one in made]),
                 findings=pl.concat([one.findings for one in made]), tallies=())


def _read(root: Path, source: dict[str, Any]) -> Bills:
    pattern = source["uri"] if Path(source["uri"]).suffix else f"{source['uri']}/**/*"
    inputs = [Input(path.relative_to(root).as_posix(), path) for path in sorted(root.glob(pattern)) if path.is_file()]
    return read_bill(BILL_FORMAT[source["kind"]], inputs, Options(source["name"], issuer=source.get("issuer")))


def read_tree(root: Path, scratch: Path) -> Month:
    tree = Tree(root, scratch)
    usage = conform(tree.rows.with_columns(
        record_id=pl.int_range(pl.len()).cast(pl.String), day=pl.col("used_at").dt.date()), CORE_USAGE)
    charges = conform(charge_frame(usage).with_columns(counted=pl.lit(value=True)), CORE_CHARGE)
    form = BILL_FORMAT["invoices"]
    listed = [Input("invoices/summary.csv", root / "invoices" / "summary.csv")]
    deliveries, _ = form.plan(listed, Options("invoices"))
    batches = [batch for one in deliveries for batch in form.read(one, Options("invoices"))]
    return Month(json.loads((root / "truth.json").read_text()), charges, bills_of(root), newest(batches))


@pytest.fixture(scope="session")
def october(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Month:
    """The clean month."""
    return read_tree(shared / "data" / "provider_logs" / "clean_october", tmp_path_factory.mktemp("october"))


@pytest.fixture(scope="session")
def fortnight(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Month:
    """The faulty fortnight."""
    return read_tree(shared / "data" / "provider_logs" / "faulty_fortnight", tmp_path_factory.mktemp("fortnight"))
