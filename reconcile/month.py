"""A month reconciled: usage and bills in, lines, causes, learnings, findings and the gate out. Pure and repeatable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import polars as pl

from costops.reconcile.billed import billed_lines
from costops.reconcile.close import PROVISIONAL
from costops.reconcile.drawdown import Before
from costops.reconcile.exact import USD, ZERO
from costops.reconcile.explain import explained
from costops.reconcile.invoices import SCHEMA as INVOICE_SCHEMA
from costops.reconcile.invoices import matched_invoices
from costops.reconcile.learn import learned
from costops.reconcile.match import matched
from costops.reconcile.notes import month_findings
from costops.reconcile.owners import keys_of, logged_keys, logged_owners, one_sided
from costops.reconcile.prices import catalogue_of
from costops.reconcile.rows import contract_rows, evidence_rows, line_rows
from costops.reconcile.scope import Pairing
from costops.reconcile.standing import standing
from costops.reconcile.tolerance import SHARE, Gate, gate
from costops.reconcile.totals import bounds_of, coverage_of, summary_of
from costops.reconcile.usage import computed_lines, computed_of
from costops.transforms import query
from costops.transforms.window import month_window


@dataclass(frozen=True)
class Options:
    """What a month is reconciled with besides usage and bills.

    `pairs`      bill source -> usage sources; sources that are not named are paired by provider.
    `contracts`  frame of `costops.reconcile.contracts.SCHEMA`; `drawn_before`: what earlier months drew on them.
    `rates`      exchange rates, as `core_fx_rate`; `price_book`: prices, as `core_price`.
    `status`     written to every row: `costops.reconcile.close.status_of` says which.
    """

    pairs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    contracts: pl.DataFrame | None = None
    drawn_before: Before | None = None
    rates: pl.DataFrame | None = None
    price_book: pl.DataFrame | None = None
    unexplained_share: Decimal = SHARE
    status: str = PROVISIONAL


@dataclass(frozen=True)
class Reconciled:
    """A month's outcome.

    `causes` is `out_reconciliation`: one row per cause of a gap, at the contract's grain. `evidence` is the same per
    line at the finest grain, `lines` every line, matched ones too. `coverage` and `summary` are per issuer,
    `contracts` is per contract and period (`costops.reconcile.standing.SCHEMA`).
    """

    month: str
    causes: pl.DataFrame
    lines: pl.DataFrame
    evidence: pl.DataFrame
    learnings: pl.DataFrame
    contracts: pl.DataFrame
    invoices: pl.DataFrame
    coverage: pl.DataFrame
    summary: pl.DataFrame
    findings: pl.DataFrame
    gate: Gate


def reconcile_month(month: str, charges: str | pl.DataFrame, billing: pl.DataFrame,
                    invoices: pl.DataFrame | None = None, *, connection: query.Connection | None = None,
                    options: Options | None = None) -> Reconciled:
    """Reconcile a month.

    `charges`: rows of `core_charge` as a frame, or the name of a relation of `connection`; they may hold more than
    the month (a day before and after is needed where an issuer's month is not the UTC month). `billing`: rows of
    `core_billing` that count; those of the neighbouring months help to find usage that is billed late.
    """
    chosen = options or Options()
    pairing = Pairing(chosen.pairs)
    month_window(month)  # refuses what is no month
    if isinstance(charges, str):
        assert connection is not None, "a relation needs its connection"  # noqa: S101
        computed = computed_lines(connection, charges, month, pairing, contracts=chosen.contracts is not None)
    else:
        computed = computed_of(charges, month, pairing)
    bills = billed_lines(billing, month, pairing, chosen.rates)
    owners = logged_owners(computed, _keys(charges, connection, month, pairing) if bills.names_keys else None)
    book = chosen.price_book
    match = matched(computed, bills.usage, bills.elsewhere, catalogue_of(book) if book is not None else None)
    lines, causes = explained(match, bills.other, book, month, chosen.contracts)
    stand = standing(lines, causes, chosen.contracts, month, chosen.drawn_before)
    lines, causes = stand.lines, stand.causes
    lines = lines.with_columns(
        gap_usd=(pl.col("report_usd").fill_null(ZERO) - pl.col("computed_usd").fill_null(ZERO)).cast(USD))
    evidence = evidence_rows(lines, causes)
    told = matched_invoices(invoices, billing, month) if invoices is not None else pl.DataFrame(schema=INVOICE_SCHEMA)
    learnings = learned(lines, causes, one_sided(bills.owners, owners), stand.contracts, month)
    summary = summary_of(lines, evidence, bills)
    low, high = bounds_of(match, lines)
    verdict = gate(
        Decimal(summary["billed_usd"].sum() or 0), int(summary["bill_rows"].sum() or 0),
        Decimal(evidence.filter(pl.col("cause") == "unexplained")["cause_usd"].abs().sum() or 0),
        unpriced_low_usd=low, unpriced_high_usd=high, share=chosen.unexplained_share)
    return Reconciled(
        month=month, causes=contract_rows(month, chosen.status, lines, evidence),
        lines=line_rows(month, lines), evidence=evidence, learnings=learnings, contracts=stand.contracts, invoices=told,
        coverage=coverage_of(lines, match), summary=summary,
        findings=month_findings(month, billing, bills, lines, evidence, told, learnings), gate=verdict)


def _keys(charges: str | pl.DataFrame, connection: query.Connection | None, month: str, pairing: Pairing) -> pl.DataFrame:
    if isinstance(charges, str):
        assert connection is not None  # noqa: S101
        return logged_keys(connection, charges, month, pairing)
    return keys_of(charges, month, pairing)
