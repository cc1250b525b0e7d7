"""Computed lines against billed lines, at the finest grain that both sides have.

A dimension takes part where both sides tell it in the same words; where a side is coarser, the other is summed.
The outcome is one frame of lines, each with a billed side, a computed side, or both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from costops.reconcile.exact import COUNT, USD, ZERO
from costops.reconcile.group import always, first_and_last, greatest, summed, told_by_all
from costops.reconcile.usage import issuer_name
from costops.transforms.prices.models import Catalogue, bare
from costops.transforms.prices.providers import provider_name
from costops.transforms.units import UNITS

KEY = ("scope", "account", "project", "model_id", "unit", "tier", "region", "day")
"""What makes a line; NULL in a dimension means that the line is summed over it."""

TOKENS = tuple(u.name for u in UNITS if u.column.endswith("_tokens"))
_NO_TEXT = pl.lit(None, dtype=pl.String)


@dataclass(frozen=True)
class Matched:
    """`lines` as said above; `parts` the computed side by price, `elsewhere` usage that another month's bill holds,
    `feed` what the provider's own usage reports count, `bounds` what unpriced usage may cost."""

    lines: pl.DataFrame
    parts: pl.DataFrame
    elsewhere: pl.DataFrame
    feed: pl.DataFrame
    bounds: pl.DataFrame


def matched(computed: pl.DataFrame, billed: pl.DataFrame, elsewhere: pl.DataFrame, catalogue: Catalogue | None = None
            ) -> Matched:
    """Lines of both sides under one key. `catalogue` tells when two spellings of a model mean one price entry."""
    used, feed = _counted(computed)
    bounds = used.filter(pl.col("unit").is_null() & pl.col("low_usd").is_not_null())
    used = used.filter(pl.col("unit").is_not_null() | (pl.col("list_usd") != 0))
    ours = used.rename({"service_tier": "tier"}).with_columns(
        account=pl.col("account_id"), project=pl.col("project_id"))
    theirs = pl.concat([billed.with_columns(_far=False), elsewhere.with_columns(_far=True)]).rename(
        {"service_tier": "tier"}).with_columns(account=_NO_TEXT, project=_NO_TEXT)
    ours = _spelled(ours, theirs, catalogue)
    ours, theirs = _owners(ours, theirs)
    ours, theirs = _tiers(ours, theirs)
    ours, theirs = _rolled(ours, theirs)
    far = _billed_side(theirs.filter(pl.col("_far")))
    lines = _billed_side(theirs.filter(~pl.col("_far"))).join(
        _computed_side(ours), on=list(KEY), how="full", coalesce=True, nulls_equal=True)
    return Matched(_numbered(lines), _parts(ours), far, feed, bounds)


def _counted(computed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lines that count, and buckets of usage reports that are evidence only: where the scope has requests."""
    requests = pl.col("granularity") == "request"
    known = computed.filter(requests)["scope"].unique().to_list()
    evidence = ~requests & pl.col("scope").is_in(known)
    return computed.filter(~evidence), computed.filter(evidence)


def _spelled(ours: pl.DataFrame, theirs: pl.DataFrame, catalogue: Catalogue | None) -> pl.DataFrame:
    """Computed lines under the bill's spelling of a model, where both mean one entry and neither has another."""
    told = ours.select("scope", "provider", "model_id").unique().sort(pl.all()).rows()
    bills = theirs.select("scope", "provider", "model_id").drop_nulls().unique().sort(pl.all()).rows()
    on_bill = {(scope, model) for scope, _, model in bills}
    in_logs = {(scope, model) for scope, _, model in told}
    by_entry: dict[tuple[str, str], list[str]] = {}
    for scope, provider, model in bills:
        if (scope, model) not in in_logs:
            by_entry.setdefault((scope, _entry(catalogue, provider, model)), []).append(model)
    names: dict[tuple[str, str], str] = {}
    for scope, provider, model in told:
        if model is not None and (scope, model) not in on_bill:
            found = by_entry.get((scope, _entry(catalogue, provider, model)), [])
            if len(found) == 1:
                names[scope, model] = found[0]
    ours = ours.with_columns(logged_model=pl.col("model_id"))
    if not names:
        return ours
    table = pl.DataFrame([(*key, value) for key, value in names.items()],
                         schema={"scope": pl.String(), "model_id": pl.String(), "_named": pl.String()}, orient="row")
    return ours.join(table, on=["scope", "model_id"], how="left", maintain_order="left").with_columns(
        model_id=pl.coalesce("_named", "model_id")).drop("_named")


def _entry(catalogue: Catalogue | None, provider: str | None, model: str) -> str:
    """The price entry that a model means; without a catalogue its name less date and version."""
    if catalogue is not None:
        found = catalogue.find(provider_name(provider or ""), model)
        if found.provider is not None:
            return f"{found.provider}/{found.model_id}"
    return bare(model.lower().rsplit("/", 1)[-1])


def _owners(ours: pl.DataFrame, theirs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Accounts and projects of the bill under the columns in which the logs tell the same ids, if any."""
    def shared(mine: str, other: str) -> list[str]:
        left = ours.select("scope", value=mine).drop_nulls().unique()
        right = theirs.select("scope", value=other).drop_nulls().unique()
        met: list[str] = left.join(right, on=["scope", "value"])["scope"].unique().to_list()
        return met

    by_payer, by_sub = shared("account", "billing_account"), shared("account", "sub_account")
    by_project = [scope for scope in shared("project", "sub_account") if scope not in by_sub]
    scope = pl.col("scope")
    theirs = theirs.with_columns(
        account=pl.when(scope.is_in(by_sub)).then(pl.col("sub_account"))
        .when(scope.is_in(by_payer)).then(pl.col("billing_account")),
        project=pl.when(scope.is_in(by_project)).then(pl.col("sub_account")))
    ours = ours.with_columns(
        account=pl.when(scope.is_in(by_sub + by_payer)).then(pl.col("account")),
        project=pl.when(scope.is_in(by_project)).then(pl.col("project")))
    return ours, theirs


def _tiers(ours: pl.DataFrame, theirs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tiers as the bill tells them apart: a line without tier holds every tier that has no line of its own.

    A bill that knows one tier only, where the logs know more, tells none.
    """
    bills: dict[str, set[str | None]] = {}
    for scope, tier in theirs.select("scope", "tier").unique().rows():
        bills.setdefault(scope, set()).add(tier)
    logs: dict[str, set[str | None]] = {}
    for scope, tier in ours.select("scope", "tier").unique().rows():
        logs.setdefault(scope, set()).add(tier)
    plain = [scope for scope, tiers in bills.items()
             if len(tiers) == 1 and None not in tiers and not logs.get(scope, set()) <= tiers]
    some = {s: tiers for s, tiers in bills.items() if None in tiers}
    keep = pl.concat_str("scope", "tier", separator="/").is_in(
        [f"{s}/{tier}" for s, tiers in some.items() for tier in tiers if tier is not None])
    summed = pl.col("scope").is_in(plain)
    ours = ours.with_columns(served=pl.col("tier"), tier=pl.when(summed).then(None).when(
        pl.col("scope").is_in(list(some)) & ~keep.fill_null(value=False)).then(None).otherwise(pl.col("tier")))
    return ours, theirs.with_columns(tier=pl.when(summed).then(None).otherwise(pl.col("tier")))


def _rolled(ours: pl.DataFrame, theirs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both sides summed over a dimension that one of them does not tell throughout a group of lines."""
    rules: tuple[tuple[str, tuple[str, ...], bool], ...] = (
        ("project", ("scope", "model_id", "tier"), True), ("account", ("scope", "model_id", "tier"), True),
        ("region", ("scope", "model_id"), False), ("day", ("scope", "model_id", "unit"), False),
        ("model_id", ("scope", "unit"), False),
    )
    for name, group, both in rules:
        holes = theirs.filter(pl.col(name).is_null()).select(group).unique()
        if both:
            holes = pl.concat([holes, ours.filter(pl.col(name).is_null()).select(group).unique()]).unique()
        ours, theirs = _without(ours, name, group, holes), _without(theirs, name, group, holes)
        # a group that one side lacks has no rule of its own: it follows its scope
        summed = theirs.filter(pl.col(name).is_null()).select("scope").unique()
        for mine, other in ((ours, theirs), (theirs, ours)) if summed.height else ():
            alone = mine.select(group).unique().join(other.select(group).unique(), on=list(group), how="anti",
                                                     nulls_equal=True).join(summed, on="scope")
            if mine is ours:
                ours = _without(ours, name, group, alone)
            else:
                theirs = _without(theirs, name, group, alone)
    # a scope whose bills never tell the day has none for models that it does not bill either
    dayless = theirs.group_by("scope").agg(pl.col("day").is_null().all()).filter("day")["scope"].to_list()
    apart = _disjoint(ours, theirs, "region")
    undated, anywhere = pl.col("scope").is_in(dayless), pl.col("scope").is_in(apart)
    ours = ours.with_columns(place=pl.col("region")).with_columns(
        day=pl.when(undated).then(None).otherwise(pl.col("day")),
        region=pl.when(anywhere).then(None).otherwise(pl.col("region")))
    return ours, theirs.with_columns(region=pl.when(anywhere).then(None).otherwise(pl.col("region")))


def _without(frame: pl.DataFrame, name: str, group: tuple[str, ...], holes: pl.DataFrame) -> pl.DataFrame:
    if holes.is_empty():
        return frame
    marked = frame.join(holes.with_columns(_hole=True), on=list(group), how="left", nulls_equal=True,
                        maintain_order="left")
    return marked.with_columns(pl.when(pl.col("_hole")).then(None).otherwise(pl.col(name)).alias(name)).drop("_hole")


def _disjoint(ours: pl.DataFrame, theirs: pl.DataFrame, name: str) -> list[str]:
    """Scopes in which the two sides never use the same word for a dimension."""
    left, right = (f.select("scope", name).drop_nulls().unique() for f in (ours, theirs))
    met = left.join(right, on=["scope", name])["scope"].unique().to_list()
    both = set(left["scope"].to_list()) & set(right["scope"].to_list())
    return sorted(both - set(met))


def _computed_side(ours: pl.DataFrame) -> pl.DataFrame:
    status, count = pl.col("price_status"), pl.col("quantity")

    def where(told: pl.Expr) -> pl.Expr:
        return pl.when(told).then(count).otherwise(0).cast(COUNT)

    rows = ours.with_columns(
        # what throughput served that is paid by the hour is not expected on the bill again
        logged=where(status != "covered"), unpriced=where(status == "unpriced"),
        covered_quantity=where(status == "covered"), computed_usd=pl.col("list_usd"),
        computed_effective_usd=pl.col("effective_usd"), usage_source=pl.col("source"), used_provider=pl.col("provider"))
    return summed(
        rows, KEY, ("logged", "computed_usd", "computed_effective_usd", "requests", "unpriced", "covered_quantity"),
        ("usage_source", "used_provider", "logged_model", "account_id"),
        {"usage_sources": first_and_last("source"), "served": first_and_last("served"),
         "price_ids": first_and_last("price_id")})


def _parts(ours: pl.DataFrame) -> pl.DataFrame:
    """The computed side of each line, by tier served and price."""
    by_the_token = (pl.col("quantity") != 0) & (pl.col("price_status") != "covered")
    return summed(ours.filter(by_the_token), (*KEY, "served", "place", "price_id"), ("quantity", "list_usd"))


def _billed_side(theirs: pl.DataFrame) -> pl.DataFrame:
    """The bill's lines under the key, with the amounts that lead from list to billed cost."""
    prepaid = (pl.col("billed_usd") == 0) & (pl.col("effective_usd") != 0) & ~pl.col("covered")
    listed = pl.when((pl.col("list_usd") == 0) & (pl.col("billed_usd") == 0)).then(
        pl.col("effective_usd")).otherwise(pl.col("list_usd"))
    contracted = pl.when((pl.col("contracted_usd") == 0) & (pl.col("billed_usd") == 0)).then(
        pl.col("effective_usd")).otherwise(pl.col("contracted_usd"))
    after = pl.col("billed_usd") - pl.col("contracted_usd")
    rows = theirs.with_columns(list_usd=listed, contracted_usd=contracted).with_columns(
        discount_usd=pl.col("contracted_usd") - pl.col("list_usd")
        + pl.when(prepaid | pl.col("covered")).then(ZERO).otherwise(after),
        commitment_usd=pl.when(pl.col("covered")).then(after).otherwise(ZERO),
        credit_usd=pl.when(prepaid).then(after).otherwise(ZERO),
        fx_usd=pl.col("report_usd") - pl.col("billed_usd"))
    sums = ("list_usd", "discount_usd", "commitment_usd", "credit_usd", "fx_usd", "billed_usd", "report_usd",
            "local_amount", "bill_rows")
    rows = rows.with_columns(bill_source=pl.col("source"), bill_line=pl.col("line"))
    mins = ("issuer", "bill_source", "provider", "billing_account", "sub_account", "currency", "period", "input_id",
            "bill_line", "invoice_id")
    return summed(rows, KEY, sums, mins, {
        "billed_quantity": told_by_all("quantity"), "decimals": greatest("decimals"), "rate_told": always("rate_told"),
        "in_month": always("in_month")})


def _numbered(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines in a fixed order with a number, zero where a side has no amount, and the names that reports show."""
    zeros = ("list_usd", "discount_usd", "commitment_usd", "credit_usd", "fx_usd", "billed_usd", "report_usd",
             "computed_usd", "computed_effective_usd")
    rows = lines.with_columns(
        on_bill=pl.col("bill_rows").is_not_null(), in_logs=pl.col("requests").is_not_null(),
        **{name: pl.col(name).fill_null(ZERO).cast(USD) for name in zeros},
        logged=pl.col("logged").fill_null(0).cast(COUNT), unpriced=pl.col("unpriced").fill_null(0).cast(COUNT),
        covered_quantity=pl.col("covered_quantity").fill_null(0).cast(COUNT),
        provider=pl.coalesce("provider", "used_provider"), in_month=pl.col("in_month").fill_null(value=True),
        source=pl.coalesce("bill_source", "usage_source"))
    issuers = rows.filter(pl.col("issuer").is_not_null()).group_by("scope").agg(pl.col("issuer").min())
    named: Mapping[str, str] = dict(issuers.iter_rows())
    scopes = {s: named.get(s, issuer_name(s)) for s in rows["scope"].unique().to_list()}
    rows = rows.with_columns(issuer=pl.coalesce("issuer", pl.col("scope").replace_strict(scopes, default=None)),
                             account_id=pl.coalesce("account", "billing_account", "account_id"))
    return rows.sort(*KEY, nulls_last=True).with_row_index("line_id")
