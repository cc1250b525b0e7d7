"""Which snapshot of a billing period counts.

A provider tells a period many times. Every telling is kept; the newest complete one counts. One that is empty, or
that lost more than a set share of its rows or its money, is refused and the one before stays in force. Once a period
is closed a differing one is `late`: it alarms, and becomes dated correction rows, never a silent rewrite.

Of kinds that tell days (`covers = "day"`) a delivery replaces the days it covers and leaves the others, so that a
pull of the last weeks makes a whole new snapshot of the month.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import TypeVar

import polars as pl

from costops.transforms.billing.bill import NEVER, Batch, BillFormat, Delivery, Input, Options, Tally
from costops.transforms.billing.finding import Finding, findings
from costops.transforms.billing.rows import CORE_BILLING_EMPTY, ID_LENGTH
from costops.transforms.billing.text import EXACT, added
from costops.transforms.tables import CORE_BILL_SNAPSHOT, CORE_BILLING, CORE_FINDING

MAX_SHRINK = Decimal("0.20")
"""A snapshot that lost more than this share of the rows or the money of the one in force is refused."""

_CONTENT = ("BilledCost", "EffectiveCost", "ConsumedQuantity", "BillingCurrency", "InvoiceId")
_MASK = (1 << 128) - 1


@dataclass(frozen=True)
class Telling:
    """One telling of one period: its id, its totals by currency, when, and from what.

    The id is a hash over the rows in any order: the same bill has the same id in every run.
    """

    period: str
    as_of: datetime | None
    complete: bool
    uris: tuple[str, ...]
    snapshot_id: str
    stats: pl.DataFrame
    status: str = "superseded"
    reason: str | None = None

    @property
    def height(self) -> int:
        """How many rows it has."""
        return int(self.stats["row_count"].sum())

    @property
    def sums(self) -> dict[str, Decimal]:
        """Billed cost by currency."""
        return dict(self.stats.select("billing_currency", "billed_cost").iter_rows())


@dataclass(frozen=True)
class Snapshot(Telling):
    """A telling with its rows in memory."""

    rows: pl.DataFrame = field(default_factory=lambda: CORE_BILLING_EMPTY)


Told = TypeVar("Told", bound=Telling)


def snapshot_of(period: str, as_of: datetime | None, rows: pl.DataFrame, uris: tuple[str, ...], *,
                complete: bool) -> Snapshot:
    """The telling that these rows are."""
    return Snapshot(period, as_of, complete, uris, content_id(rows), totals(rows), rows=rows)


@dataclass(frozen=True)
class Bills:
    """What a source's deliveries came to: the rows that count, those that do not, the snapshots, what was wrong."""

    billing: pl.DataFrame
    history: pl.DataFrame
    snapshots: pl.DataFrame
    findings: pl.DataFrame
    tallies: tuple[Tally, ...]


def content_id(rows: pl.DataFrame) -> str:
    """16 hex digits over the rows' keys and amounts, whatever their order."""
    return finish_id(add_content(0, rows), rows.height)


def add_content(total: int, rows: pl.DataFrame) -> int:
    """A running content sum with these rows added: batches may come in any order and of any size.

    Of the row id the hash of the keys counts; the number that tells rows with the same keys apart hangs on order.
    """
    if not rows.height:
        return total
    key = pl.col("x_SourceRowId").str.slice(0, ID_LENGTH)
    texts = rows.select(pl.concat_str([key, *(pl.col(name).cast(pl.String).fill_null("") for name in _CONTENT)],
                                      separator="|")).to_series().to_list()
    for text in texts:
        total += int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "big")
    return total & _MASK


def finish_id(total: int, rows: int) -> str:
    """The snapshot id of a content sum."""
    return blake2b(f"{total:032x}:{rows}".encode(), digest_size=8).hexdigest()


def read_bill(form: BillFormat, inputs: Sequence[Input], options: Options, *,
              closed: Mapping[str, str] | None = None, max_shrink: Decimal = MAX_SHRINK) -> Bills:
    """Everything a source's inputs tell, decided: `closed` is the snapshot id of each closed period.

    Holds the rows in memory; an export of gigabytes is read with `form.read` batch by batch and decided with
    `choose` over the totals.
    """
    deliveries, told = form.plan(inputs, options)
    found = [told]
    tallies: dict[str, Tally] = {}
    made: list[tuple[Delivery, list[Batch]]] = []
    for delivery in deliveries:
        batches = list(form.read(delivery, options))
        made.append((delivery, batches))
        for batch in batches:
            found.append(batch.findings)
            at = batch.tally.uri
            tallies[at] = tallies[at] + batch.tally if at in tallies else batch.tally
    snapshots = by_days(made, max_shrink) if form.covers == "day" else by_periods(made)
    decided: list[Snapshot] = []
    for period in sorted({snapshot.period for snapshot in snapshots}):
        of_period = [snapshot for snapshot in snapshots if snapshot.period == period]
        chosen, alarms = choose(of_period, options, (closed or {}).get(period), max_shrink)
        decided += chosen
        found.append(alarms)
    return Bills(
        _joined([s for s in decided if s.status == "current"]),
        _joined([s for s in decided if s.status != "current"]),
        pl.concat([described(s, options.source) for s in decided]) if decided else
        pl.DataFrame(schema=CORE_BILL_SNAPSHOT.schema),
        pl.concat(found).unique("finding_id", maintain_order=True) if found else
        pl.DataFrame(schema=CORE_FINDING.schema),
        tuple(tallies.values()),
    )


def by_periods(made: Iterable[tuple[Delivery, list[Batch]]]) -> list[Snapshot]:
    """A snapshot for each period of each delivery; one for a period that it names and has no rows for, too."""
    found: list[Snapshot] = []
    for delivery, batches in made:
        rows = _rows(batches)
        whole = not delivery.missing and not any(batch.tally.damaged for batch in batches)
        told = set(rows["billing_period"].unique().to_list())
        found += [snapshot_of(period, delivery.as_of, rows.filter(pl.col("billing_period") == period),
                              tuple(item.uri for item in delivery.inputs), complete=whole)
                  for period in sorted(told | set(delivery.periods))]
    return found


def by_days(made: Iterable[tuple[Delivery, list[Batch]]], max_shrink: Decimal = MAX_SHRINK) -> list[Snapshot]:
    """Snapshots of the months that deliveries touch: what was known before with the days told anew.

    A snapshot that will be refused is no ground for the next one.
    """
    accepted: dict[str, Snapshot] = {}
    found: list[Snapshot] = []
    for delivery, batches in sorted(made, key=lambda pair: pair[0].as_of or NEVER):
        rows = _rows(batches)
        whole = not any(batch.tally.damaged for batch in batches)
        days = sorted({day for batch in batches for day in batch.days} |
                      set(rows["ChargePeriodStart"].dt.date().to_list()))
        periods = sorted({_month(day) for day in days} | set(rows["billing_period"].to_list()))
        for period in periods:
            before = accepted.get(period)
            kept = (before.rows if before else CORE_BILLING_EMPTY).filter(
                ~pl.col("ChargePeriodStart").dt.date().is_in(days))
            now = pl.concat([kept, rows.filter(pl.col("billing_period") == period)])
            told = (*(before.uris if before else ()), *(item.uri for item in delivery.inputs))
            snapshot = snapshot_of(period, delivery.as_of, now, tuple(dict.fromkeys(told)), complete=whole)
            if _judged(snapshot, before, None, max_shrink)[0] == "current":
                accepted[period] = snapshot
            found.append(snapshot)
    return found


def choose(snapshots: Sequence[Told], options: Options, closed_id: str | None = None,
           max_shrink: Decimal = MAX_SHRINK) -> tuple[list[Told], pl.DataFrame]:
    """The snapshots of one period with their status, and findings for those that were refused or came late."""
    found: list[Finding] = []
    decided: list[Told] = []
    current: Told | None = None
    for snapshot in sorted(snapshots, key=lambda s: s.as_of or NEVER):
        if current is not None and snapshot.snapshot_id == current.snapshot_id:
            continue
        status, reason = _judged(snapshot, current, closed_id, max_shrink)
        if status == "current":
            if current is not None:
                decided.append(replace(current, status="superseded", reason="a newer snapshot counts"))
            current = replace(snapshot, status=status)
            continue
        decided.append(replace(snapshot, status=status, reason=reason))
        found.append(Finding(
            {"refused": "snapshot_refused", "incomplete": "snapshot_incomplete",
             "late": "closed_period_changed"}[status],
            "error" if status != "incomplete" else "warning", snapshot.uris[0] if snapshot.uris else snapshot.period,
            field=snapshot.period, expected="a whole snapshot, not smaller than the one in force", actual=reason,
            mend={"refused": "if it is right, delete the larger snapshot or raise `max_shrink`",
                  "incomplete": "wait for the export or fetch it again",
                  "late": "book the correction rows in the open period, or reopen the period"}[status],
            amount=_difference(snapshot, current), day=snapshot.as_of.date() if snapshot.as_of else None))
    if current is not None:
        decided.append(current)
    return decided, findings(found, source=options.source)


def _judged(new: Telling, current: Telling | None, closed_id: str | None,
            max_shrink: Decimal) -> tuple[str, str | None]:
    if not new.complete:
        return "incomplete", "a file of it is missing or damaged"
    if closed_id is not None and current is not None and current.snapshot_id == closed_id:
        return "late", f"the period is closed on {closed_id}"
    shrunk = _shrunk(new, current, max_shrink)
    return ("refused", shrunk) if shrunk else ("current", None)


def _shrunk(new: Telling, current: Telling | None, max_shrink: Decimal) -> str | None:
    if not new.height:
        return "it is empty"
    if current is None:
        return None
    if new.height < current.height * (1 - max_shrink):
        return f"{new.height} rows after {current.height}"
    for currency, was in current.sums.items():
        now = new.sums.get(currency, Decimal(0))
        if was > 0 and now < was * (1 - max_shrink):
            return f"{now:f} {currency} after {was:f}"
    return None


def _difference(new: Telling, current: Telling | None) -> Decimal:
    was = added(current.sums.values()) if current is not None else Decimal(0)
    return EXACT.subtract(added(new.sums.values()), was)


_SUMMED = ("row_count", "billed_cost", "effective_cost", "unmapped_rows", "unmapped_cost")


def totals(rows: pl.DataFrame) -> pl.DataFrame:
    """Totals of rows by currency; none for no rows."""
    odd = pl.col("x_MappingStatus") == "unmapped"
    day = pl.col("ChargePeriodStart").dt.date()
    return rows.group_by(pl.col("BillingCurrency").alias("billing_currency")).agg(
        row_count=pl.len().cast(pl.Int64), billed_cost=pl.col("BilledCost").sum(),
        effective_cost=pl.col("EffectiveCost").sum(), unmapped_rows=odd.sum().cast(pl.Int64),
        unmapped_cost=pl.col("BilledCost").filter(odd).sum(), first_day=day.min(), last_day=day.max(),
    ).sort("billing_currency")


def joined_totals(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The totals of several batches as one."""
    return pl.concat(parts).group_by("billing_currency").agg(
        *(pl.col(name).sum() for name in _SUMMED), pl.col("first_day").min(), pl.col("last_day").max(),
    ).sort("billing_currency")


def described(snapshot: Telling, source: str) -> pl.DataFrame:
    """The `core_bill_snapshot` rows of a snapshot: one for each currency, one without any for an empty one."""
    sums = snapshot.stats
    if not sums.height:
        sums = pl.DataFrame([{**dict.fromkeys(sums.columns), "billing_currency": "XXX", **dict.fromkeys(_SUMMED, 0)}],
                            schema=sums.schema)
    made = sums.with_columns(
        source=pl.lit(source), billing_period=pl.lit(snapshot.period), snapshot_id=pl.lit(snapshot.snapshot_id),
        status=pl.lit(snapshot.status), reason=pl.lit(snapshot.reason, dtype=pl.String),
        as_of=pl.lit(snapshot.as_of, dtype=pl.Datetime("us")),
        uris=pl.lit(pl.Series([list(snapshot.uris)], dtype=pl.List(pl.String))).first(),
    )
    return made.select(pl.col(name).cast(kind) for name, kind in CORE_BILL_SNAPSHOT.schema.items())


def corrections(closed: pl.DataFrame, late: pl.DataFrame, open_period: date) -> pl.DataFrame:
    """Delta rows for a closed period: what the late snapshot adds, booked in the open period that starts then.

    FOCUS's Delta style: the original ChargePeriod, ChargeClass Correction, no invoice yet. Each row carries the
    difference of one line; their sum is the difference of the snapshots.
    """
    costs = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ConsumedQuantity", "PricingQuantity",
             "x_BilledCostUsd")
    both = pl.concat([
        closed.with_columns(-pl.col(name) for name in costs).with_columns(_new=pl.lit(value=False)),
        late.with_columns(_new=pl.lit(value=True)),
    ]).sort("_new", maintain_order=True)
    delta = both.group_by("x_SourceRowId", maintain_order=True).agg(
        *(pl.col(name).sum() for name in costs),
        *(pl.col(name).last() for name in CORE_BILLING.columns if name not in (*costs, "x_SourceRowId")),
    ).filter(pl.any_horizontal(pl.col(name) != 0 for name in ("BilledCost", "EffectiveCost")))
    start = datetime(open_period.year, open_period.month, 1)  # noqa: DTZ001  UTC by convention
    return delta.with_columns(
        ChargeClass=pl.lit("Correction"), InvoiceId=pl.lit(None, dtype=pl.String),
        InvoiceDetailId=pl.lit(None, dtype=pl.String),
        BillingPeriodStart=pl.lit(start, dtype=pl.Datetime("us")),
        BillingPeriodEnd=pl.lit(start, dtype=pl.Datetime("us")).dt.offset_by("1mo"),
        billing_period=pl.lit(f"{start:%Y-%m}"), x_SourceRowId="late-" + pl.col("x_SourceRowId"),
    ).select(CORE_BILLING.columns)


def _rows(batches: Sequence[Batch]) -> pl.DataFrame:
    return pl.concat([CORE_BILLING_EMPTY, *(batch.rows for batch in batches)])


def _joined(snapshots: Sequence[Snapshot]) -> pl.DataFrame:
    made = [s.rows.with_columns(snapshot_id=pl.lit(s.snapshot_id)) for s in snapshots]
    return pl.concat([CORE_BILLING_EMPTY, *made]).sort("billing_period", "snapshot_id", *CORE_BILLING.sort,
                                                       nulls_last=True, maintain_order=True)


def _month(day: date) -> str:
    return f"{day:%Y-%m}"
