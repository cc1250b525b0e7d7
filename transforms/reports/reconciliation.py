"""The monthly reconciliation report: computed against billed, why they differ, and the sign-off.

`gap_usd` is billed less computed; the causes of a line sum to its gap.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from costops.transforms.reports.causes import CAUSE
from costops.transforms.reports.charts import waterfall
from costops.transforms.reports.export import json_document, xlsx_bytes
from costops.transforms.reports.figures import (
    DASH,
    days_text,
    digits_for,
    exact,
    instant_text,
    money,
    percent,
    plain,
    plural,
    ratio,
)
from costops.transforms.reports.nightly_data import records
from costops.transforms.reports.page import (
    Block,
    Card,
    Cards,
    Cell,
    Chart,
    Column,
    Fields,
    Note,
    Page,
    Section,
    Switch,
    Table,
    Trace,
    count_cell,
    money_cell,
    render,
    share_cell,
    text_cell,
)
from costops.transforms.reports.plain_tables import frame_table
from costops.transforms.reports.reconciliation_data import ReconciliationData
from costops.transforms.reports.reconciliation_learned import (
    contract_sheet,
    contracts,
    coverage,
    learned,
    prices,
    unmatched,
)
from costops.transforms.reports.reconciliation_lines import (
    by_cause,
    by_issuer,
    effective_of,
    largest,
    lines_of,
    sides_of,
    steps,
    unit_said,
)
from costops.transforms.reports.reconciliation_sides import in_group, one_sided

ZERO = Decimal(0)
SCHEMA = "llm-costops.reconciliation/1"

_MOST = 25


def reconciliation_report(data: ReconciliationData) -> str:
    """The report as one self-contained HTML file."""
    sections = [_summary(data), _waterfalls(data), _causes(data), _next(data), _largest(data), contracts(data),
                prices(data), unmatched(data), coverage(data), _invoices(data), _corrections(data), _sign_off(data)]
    facts = (("Month", data.month), ("Made", instant_text(data.generated_at)), ("Status", data.status),
             ("Run", data.run_id), ("Program", f"llm-costops {data.program_version}".strip()))
    return render(Page(
        f"Reconciliation {_titled(data.month)}", f"Computed against billed LLM cost, {plain(data.status)}",
        tuple((name, plain(value)) for name, value in facts if value),
        tuple(section for section in sections if section is not None),
        "Amounts are US dollars. Gap is billed less computed; the causes of every line sum to its gap exactly. Hold "
        "the pointer over a figure to read all its digits. The workbook has every line, cause and piece of evidence."))


def _titled(month: str) -> str:
    """October 2026, where the month is one."""
    try:
        return f"{date.fromisoformat(f'{month}-01'):%B %Y}"
    except ValueError:
        return plain(month)


def reconciliation_workbook(data: ReconciliationData) -> bytes:
    """The workbook for finance: summary, lines, causes, unmatched, evidence."""
    own = ("month", "issuer", "source", "account_id", "model_id", "unit", "day", "computed_usd", "billed_usd",
           "gap_usd", "cause", "cause_usd", "status")
    evidence = data.evidence
    if evidence is None:
        evidence = data.causes if set(data.causes.columns) - {*own} else data.causes.head(0)
    none = pl.DataFrame({"note": pl.Series(["everything was seen on both sides"], dtype=pl.String)})
    unseen = learned(data, of_prices=False)
    return xlsx_bytes({
        "summary": _with_total(_by_issuer(data)),
        "lines": lines_of(data.causes) if data.lines is None else data.lines, "causes": data.causes.select(own),
        "unmatched": none if unseen is None or unseen.is_empty() else unseen,
        "evidence": evidence, **contract_sheet(data),
        **({} if data.group is None or data.group.is_empty() else {f"in {data.group['currency'][0]}": data.group}),
        "sign-off": _sign_off_sheet(data),
    }, title=f"Reconciliation {data.month}", widths={"cause": 16, "issuer": 16, "value": 70})


def _with_total(frame: pl.DataFrame) -> pl.DataFrame:
    """The summary with a row of totals, as a person reads it."""
    sums = frame.select(pl.col(pl.Decimal, pl.Int64).sum()).with_columns(issuer=pl.lit("Total"))
    return pl.concat([frame, sums], how="diagonal_relaxed") if frame.height > 1 else frame


def _sign_off_sheet(data: ReconciliationData) -> pl.DataFrame:
    """What is signed: the figures, what they rest on, the lock's hash, and who signs."""
    total = _total(data)
    rows = [("Month", data.month), ("Status", data.status),
            *((title, f"{total[name]:,.2f} USD") for title, name in (
                ("Computed", "computed_usd"), ("Billed", "billed_usd"), ("Gap", "gap_usd"),
                ("Unexplained", "unexplained_usd"))),
            *((f"Gate: {name}", f"{'passed' if passed else 'failed'}; {detail}") for name, passed, detail in data.gates),
            ("Lock hash", data.lock_hash or "not locked"),
            ("Locked", instant_text(data.locked_at) if data.locked_at else ""),
            *(("Rests on snapshot", name) for name in data.snapshots),
            ("Prepared by", data.prepared_by), ("Checked by", ""), ("Approved by", ""), ("Date", "")]
    return pl.DataFrame(rows, schema={"item": pl.String(), "value": pl.String()}, orient="row")


def reconciliation_json(data: ReconciliationData) -> bytes:
    """The numbers of the report; amounts are strings with every digit."""
    optional = {name: records(frame) for name, frame in (
        ("coverage", data.coverage), ("learnings", data.learnings), ("contracts", data.contracts),
        ("invoices", data.invoices), ("group_currency", data.group),
        ("corrections", data.corrections)) if frame is not None}
    return json_document({
        "schema": SCHEMA, "month": data.month, "generated_at": data.generated_at, "status": data.status,
        "currency": "USD", "run_id": data.run_id, "program_version": data.program_version,
        "lock": {"hash": data.lock_hash or None, "locked_at": data.locked_at, "snapshots": data.snapshots},
        "gates": [{"name": name, "passed": passed, "detail": detail} for name, passed, detail in data.gates],
        "total": _total(data), "by_issuer": records(_by_issuer(data)),
        "by_cause": records(by_cause(data.causes)), "causes": records(data.causes), **optional, "notes": data.notes,
    })


def _by_issuer(data: ReconciliationData) -> pl.DataFrame:
    return by_issuer(data.causes, data.lines).with_columns(pl.col("status").fill_null(data.status))


def _total(data: ReconciliationData) -> dict[str, Any]:
    frame = by_issuer(data.causes, data.lines)
    names = ("computed_usd", "billed_usd", "gap_usd", "unexplained_usd", "lines", "equal_lines")
    row: dict[str, Any] = frame.select(pl.col(name).sum() for name in names).row(0, named=True)
    return {**row, "unexplained_share": ratio(row["unexplained_usd"], row["billed_usd"])}


def _trace(sql: str) -> tuple[Trace, ...]:
    return (Trace("out_reconciliation_line" if "reconciliation_line" in sql else "out_reconciliation", sql),)


def _summary(data: ReconciliationData) -> Section:
    total = _total(data)
    open_ = total["unexplained_usd"]
    share = ratio(total["gap_usd"], total["billed_usd"])
    large = Cards((
        Card("Computed", money(total["computed_usd"], symbol="$"), exact=exact(total["computed_usd"]),
             note="from the logs, at the prices that apply"),
        Card("Billed", money(total["billed_usd"], symbol="$"), exact=exact(total["billed_usd"]),
             note=f"{plural(total['lines'], 'line')} compared"),
        Card("Gap", money(total["gap_usd"], symbol="$", sign=True), exact=exact(total["gap_usd"]),
             note=f"{percent(share, sign=True)} of what was billed" if share is not None else "nothing was billed"),
    ), "large")
    small = [Card("Unexplained", money(open_, symbol="$"), exact=exact(open_), tone="bad" if open_ else "good",
                  note=f"{percent(total['unexplained_share'])} of billed" if open_ else "every dollar has a cause"),
             Card("Lines without a gap", f"{total['equal_lines']:,} of {total['lines']:,}",
                  note="equal to the last digit"),
             Card("Status", plain(data.status), note=f"by {plain(data.prepared_by)}" if data.lock_hash else
                  "figures may still change")]
    effective = effective_of(data.lines)
    if effective is not None:
        cost = Decimal(effective["computed_effective_usd"].sum())
        small.insert(0, Card("After contracts", money(cost, symbol="$"), exact=exact(cost),
                             note="what the usage costs, with fees of throughput spread over it"))
    failed = [name for name, passed, _ in data.gates if not passed]
    named = [name for name, _, _ in data.gates]
    if data.gates:
        small.append(Card("Gates", f"{len(failed)} failed" if failed else "all pass", tone="bad" if failed else "good",
                          note=plain(data.gates[0][2], longest=120) if len(data.gates) == 1 else
                          ", ".join(plain(name).replace("_", " ") for name in failed or named)))
    table = _issuers(data)
    blocks: tuple[Block, ...] = (large, Cards(tuple(small)), *one_sided(data), table, *in_group(data),
                                 *(Note(plain(text, longest=600), "warn") for text in data.notes))
    if data.causes.is_empty() and (data.lines is None or data.lines.is_empty()):
        blocks = (Note("No bill and no usage of this month has been read, so there is nothing to reconcile.", "warn"),)
    return Section("summary", "Summary", "What we computed, what was billed, and what lies between.", blocks, _trace(
        "SELECT issuer, sum(computed_usd), sum(billed_usd), sum(gap_usd), count(*) AS lines\n"
        f"FROM out_reconciliation_line WHERE month = '{data.sql_month}'\nGROUP BY issuer;"))


def _issuers(data: ReconciliationData) -> Table:
    frame = by_issuer(data.causes, data.lines)
    total = _total(data)
    digits = digits_for(frame["billed_usd"])

    sides = sides_of(data.lines)
    told = effective_of(data.lines)
    after = {} if told is None else dict(told.iter_rows())
    after[None] = sum(after.values(), ZERO)

    def row(name: Cell, values: dict[str, Any], status: str) -> tuple[Cell, ...]:
        more = () if told is None else (money_cell(after[values.get("issuer")], digits=digits),)
        return (name, money_cell(values["computed_usd"], digits=digits), *more,
                money_cell(values["billed_usd"], digits=digits),
                money_cell(values["gap_usd"], digits=digits, sign=True),
                Cell(percent(ratio(values["gap_usd"], values["billed_usd"]), sign=True)),
                money_cell(values["unexplained_usd"], digits=digits, tone="bad" if values["unexplained_usd"] else ""),
                count_cell(values["lines"]), Cell(status))

    return Table("By issuer", (
        Column("Issuer"), Column("Computed (USD)", "number"),
        *(() if told is None else (Column("After contracts (USD)", "number"),)), Column("Billed (USD)", "number"),
        Column("Gap (USD)", "number"), Column("Gap", "number"), Column("Unexplained (USD)", "number"),
        Column("Lines", "number"), Column("Status", "name")),
        tuple(row(text_cell(values["issuer"], sub=sides.get(values["issuer"], "")), values,
                  plain(values["status"] or data.status))
              for values in frame.iter_rows(named=True)),
        foot=row(Cell("Total"), total, ""), headed=True)


def _waterfalls(data: ReconciliationData) -> Section | None:
    frame = by_issuer(data.causes, data.lines)
    if frame.is_empty():
        return None
    total = _total(data)
    charts = [_waterfall("all", "All issuers", data.causes, total)] if frame.height > 1 else []
    charts += [_waterfall(f"issuer-{place}", plain(row["issuer"]),
                          data.causes.filter(pl.col("issuer").eq_missing(row["issuer"])), row)
               for place, row in enumerate(frame.iter_rows(named=True))]
    lead = ("From what we computed to what was billed. Where the steps are small, the axis begins near the totals, "
            "so that they can be seen.")
    return Section("waterfall", "From computed to billed", lead, (Switch("Issuer", tuple(charts)),), _trace(
        f"SELECT issuer, cause, sum(cause_usd) FROM out_reconciliation WHERE month = '{data.sql_month}'\n"
        "GROUP BY issuer, cause;"))


def _waterfall(name: str, title: str, causes: pl.DataFrame, sums: dict[str, Any]) -> Chart:
    found = [(_said(label), kind, start, end)
             for label, kind, start, end in steps(causes, sums["computed_usd"], sums["billed_usd"])]
    digits = digits_for(end for *_, end in found)
    texts = [money(end - start, digits=digits, sign=kind != "total") for _, kind, start, end in found]
    table = Table("Steps from computed to billed, US dollars", (
        Column("Step"), Column("Amount (USD)", "number"), Column("Running total (USD)", "number")),
        tuple((Cell(label), money_cell(end - start, digits=digits, sign=kind != "total"),
               money_cell(end, digits=digits)) for label, kind, start, end in found))
    return Chart(f"waterfall-{name}", title, f"Waterfall of {title} from computed to billed cost, one step per cause.",
                 waterfall(found, texts), table,
                 (("Raises the bill", "var(--c6)"), ("Lowers the bill", "var(--c3)"), ("Total", "var(--c1)")))


def _said(cause: str) -> str:
    return CAUSE[cause][0] if cause in CAUSE else plain(cause, longest=40)


def _causes(data: ReconciliationData) -> Section:
    frame = by_cause(data.causes, ())
    gross = sum((abs(amount) for amount in frame["cause_usd"]), ZERO)
    digits = digits_for(frame["cause_usd"])
    rows = tuple((Cell(_said(row["cause"]), sub=plain(row["cause"])),
                  money_cell(row["cause_usd"], digits=digits, sign=True),
                  share_cell(ratio(abs(row["cause_usd"]), gross)), count_cell(row["lines"]))
                 for row in frame.iter_rows(named=True))
    table = Table("Causes, largest first", (
        Column("Cause"), Column("Amount (USD)", "number"), Column("Share of all differences", "bar"),
        Column("Lines", "number")), rows, empty="Every line is equal to the last digit.")
    return Section("causes", "Why they differ", "Each gap is split into causes that sum to it.", (table,), _trace(
        f"SELECT cause, sum(cause_usd), count(*) FROM out_reconciliation\n"
        f"WHERE month = '{data.sql_month}' GROUP BY cause;"))


def _largest(data: ReconciliationData) -> Section:
    frame = largest(data.causes, _MOST)
    digits = digits_for(frame["cause_usd"])

    def amount(value: Decimal, **more: Any) -> Cell:
        return money_cell(value, digits=digits, **more)

    rows = []
    for row in frame.iter_rows(named=True):
        where = " \u00b7 ".join(plain(text) for text in (unit_said(row["unit"]), row["account_id"])
                             if text and text != "unknown")
        days = DASH if row["first"] is None else days_text(row["first"], row["last"])
        name, why = row["model_id"] or unit_said(row["unit"]), plain(row["detail"] or "", longest=90)
        # lines that are no usage share one key: their amounts are those of the cause
        sides = (amount(row["computed_usd"]), amount(row["billed_usd"])) if name else (Cell(DASH), Cell(DASH))
        rows.append((text_cell(name or why, missing="(whole line)", sub=where),
                     text_cell(row["issuer"]), Cell(_said(row["cause"]), sub=why if name else ""),
                     Cell(days, sub=plural(row["lines"], "line") if row["lines"] > 1 else ""), *sides,
                     amount(row["cause_usd"], sign=True, tone="bad" if row["cause"] == "unexplained" else "")))
    groups = largest(data.causes, data.causes.height).height - len(rows)
    table = Table("Largest causes by model and unit", (
        Column("Model or line"), Column("Issuer"), Column("Cause"), Column("Days"),
        Column("Computed (USD)", "number"), Column("Billed (USD)", "number"), Column("Cause (USD)", "number")),
        tuple(rows), note=f"{plural(groups, 'smaller cause')} in the workbook." if groups > 0 else "",
        empty="No line has a gap.")
    return Section("largest", "Largest single causes", "By model and unit, the largest amount first.", (table,), _trace(
        "SELECT issuer, model_id, unit, cause, sum(cause_usd) FROM out_reconciliation\n"
        f"WHERE month = '{data.sql_month}' GROUP BY ALL ORDER BY abs(sum(cause_usd)) DESC;"))


def _invoices(data: ReconciliationData) -> Section | None:
    if data.invoices is None:
        return None
    order = ("issuer", "invoice_id", "currency", "invoice_amount", "bill_amount", "difference", "outcome", "detail")
    frame = data.invoices.select(name for name in order if name in data.invoices.columns) if (
        "invoice_id" in data.invoices.columns) else data.invoices
    titles = {"invoice_id": "Invoice", "invoice_amount": "Invoice amount", "bill_amount": "Bill lines"}
    block: Block = frame_table(frame, "Invoices and their lines", titles=titles) if frame.height else Note(
        "No invoice of this month has been read.")
    return Section("invoices", "Invoices", "Invoices against the bill lines that they stand for, in the bill's "
                   "currency.", (block,))


def _corrections(data: ReconciliationData) -> Section | None:
    if data.corrections is None or data.corrections.is_empty():
        return None
    order = ("corrected_on", "issuer", "model_id", "unit", "day", "cause", "cause_usd", "computed_usd", "billed_usd")
    frame = data.corrections.select(name for name in order if name in data.corrections.columns)
    return Section("corrections", "Changes since the lock", "The locked figures stand; these are dated differences to "
                   "them. Book them in the month in which they were found.",
                   (frame_table(frame, "Corrections", order=order),), (Trace(
                       "out_reconciliation_correction", f"SELECT * FROM out_reconciliation_correction\n"
                       f"WHERE month = '{data.sql_month}' ORDER BY corrected_on;"),))


_STANDING = {"as agreed": "nothing to do: a contract says so",
             "not as agreed": "the contract makes it another amount: see the contracts below"}


def _next(data: ReconciliationData) -> Section:
    told = pl.col("agreed").fill_null(value=False) if "agreed" in data.causes.columns else pl.lit(value=False)
    named = pl.col("contract").is_not_null() if "contract" in data.causes.columns else pl.lit(value=False)
    standing = pl.when(told).then(pl.lit("as agreed")).when(named).then(pl.lit("not as agreed")).otherwise(pl.lit(""))
    frame = by_cause(data.causes.with_columns(standing=standing), ("standing",)).filter(pl.col("cause_usd") != 0).sort(
        pl.col("standing") == "as agreed", pl.col("cause_usd").abs(), descending=[False, True])
    digits = digits_for(frame["cause_usd"])
    rows = tuple((Cell(_said(row["cause"]), sub=row["standing"]),
                  money_cell(row["cause_usd"], digits=digits, sign=True),
                  Cell(_STANDING.get(row["standing"]) or (
                      CAUSE[row["cause"]][1] if row["cause"] in CAUSE else "look at the evidence")))
                 for row in frame.iter_rows(named=True))
    table = Table("What to do next", (Column("Cause"), Column("Amount (USD)", "number"), Column("Do", "text long")),
                  rows, empty="Nothing: computed and billed are equal.")
    return Section("next", "What to do next", "One step per cause, the largest amount first; what was "
                   "agreed comes last.", (table,))


def _sign_off(data: ReconciliationData) -> Section:
    locked = bool(data.lock_hash)
    lead = ("The month is locked. A later change becomes a dated correction and never changes these figures." if locked
            else "The month is not locked. Figures can still change; lock it with cost-ops close before you sign.")
    facts = Fields((("Lock hash", data.lock_hash or DASH),
                    ("Locked", instant_text(data.locked_at) if data.locked_at else DASH),
                    ("Rests on snapshots", ", ".join(plain(name) for name in data.snapshots) or DASH)))
    lines_ = Fields((("Prepared by", plain(data.prepared_by)), ("Checked by", ""), ("Approved by", ""),
                     ("Date", "")))
    return Section("sign-off", "Sign-off", lead, (facts, lines_))
