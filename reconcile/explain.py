"""Why a billed line differs from the computed one: causes that sum to the gap exactly, in a stated order.

From computed to billed in steps: the list cost of the logged quantity, that of the billed quantity (coverage,
quantity, moves between keys), the list cost as billed (tier, price date, region, price book, rounding), the cost
after discounts, commitments, credits, and the amount in the reporting currency. Each step's difference is a cause;
the steps telescope, so the causes sum to the gap by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import polars as pl

from costops.reconcile import diagnose, moves
from costops.reconcile.contracts import agreed
from costops.reconcile.exact import COUNT, USD, ZERO, micro, number, share, usd
from costops.reconcile.match import KEY, Matched
from costops.reconcile.prices import OTHER_SCHEMA, other_prices, prices_in_force

CAUSES: tuple[str, ...] = (
    "missing_usage", "extra_usage", "quantity", "model_mapping", "tier", "price_change", "price_book", "region",
    "discount", "commitment", "credit", "tax", "fx", "rounding", "timing", "tool_fee", "unmapped_line", "unexplained",
)
TOOLS = ("request", "web_search", "code_session")
"""Units that are fees for tools: what logs do not count of them is a fee, not missing usage."""

KIND_CAUSE: Mapping[str, str] = {
    "tax": "tax", "credit": "credit", "prepaid_credit": "credit", "refund": "credit", "adjustment": "credit",
    "discount": "discount", "commitment_fee": "commitment", "commitment_drawdown": "commitment",
    "provisioned": "commitment", "fee": "tool_fee",
    "rounding": "rounding", "correction": "timing", "unmapped": "unmapped_line", "usage": "unexplained",
}
"""What a line that is no usage is a cause of."""

TINY = Decimal("0.000000000001")
"""A pico-dollar: what exact products may differ by when a price has no end."""

CAUSE_SCHEMA: dict[str, pl.DataType] = {
    "line_id": pl.UInt32(), "cause": pl.String(), "cause_usd": USD, "agreed": pl.Boolean(), "detail": pl.String(),
}


def explained(match: Matched, other: pl.DataFrame, book: pl.DataFrame | None, month: str,
              deals: pl.DataFrame | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The lines with what was learned about them, and their causes: `CAUSE_SCHEMA`.

    `other` are the bill's lines that are not usage: they come out as lines of their own. `deals` are agreed
    discounts (`costops.reconcile.contracts`), so that a cause can say whether it was to be expected.
    """
    lines = _with_prices(match.lines, book, month)
    others = other_prices(lines, book) if book is not None else pl.DataFrame(schema=OTHER_SCHEMA)
    lines = _slack(lines)
    lines = _implied(lines, others, agreed(lines, deals, month))
    lines, _ = moves.joined(lines)
    lines = _expected(lines)
    told = _moved(lines, match, other)
    lines = attached(lines, told)
    lines = _parts_tested(lines, match.parts)
    lines = _priced(lines, others)
    causes = _steps(lines)
    extra, fees = _other_lines(other, lines)
    return pl.concat([lines, extra], how="diagonal"), pl.concat([causes, fees]).sort("line_id", "cause")


def _with_prices(lines: pl.DataFrame, book: pl.DataFrame | None, month: str) -> pl.DataFrame:
    """Lines with the book's price for their own key; where there is none, that of the month's other lines."""
    if book is None:
        lines = lines.with_columns(top=pl.lit(None, dtype=pl.Int64), bottom=pl.lit(None, dtype=pl.Int64),
                                   book_price_id=pl.lit(None, dtype=pl.String))
    else:
        lines = prices_in_force(lines, book, month)
    seen = lines.filter((pl.col("logged") > 0) & (pl.col("computed_usd") > 0) & (pl.col("unpriced") == 0)).group_by(
        "scope", "model_id", "unit", "tier", "region").agg(
        _cost=pl.col("computed_usd").sum(), _count=pl.col("logged").sum())
    return lines.join(seen, on=["scope", "model_id", "unit", "tier", "region"], how="left", nulls_equal=True,
                      maintain_order="left")


def attached(lines: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """`lines` with the columns that `told` has of their `line_id`; a left join that copies no other column."""
    found = lines.select("line_id").join(told, on="line_id", how="left", maintain_order="left")
    return lines.hstack(found.drop("line_id"))


def at_book(count: pl.Expr) -> pl.Expr:
    """List cost of a count at the book's price, else at the price of the month's other lines; NULL without any."""
    top, bottom = pl.col("top").cast(pl.Int128), pl.col("bottom").cast(pl.Int128) * 1_000_000
    return pl.coalesce(usd((2 * micro(count) * top + bottom) // (2 * bottom)), share(pl.col("_cost"), count,
                                                                                       pl.col("_count")))


def _slack(lines: pl.DataFrame) -> pl.DataFrame:
    """Half a unit of the last digit that the bill tells, for each of a line's rows; more where money was converted."""
    scale = lines.filter("on_bill").group_by("scope", "currency").agg(_digits=pl.col("decimals").max())
    lines = lines.join(scale, on=["scope", "currency"], how="left", nulls_equal=True, maintain_order="left")
    foreign = (pl.col("currency").fill_null("USD") != "USD")
    dollars = pl.when(foreign & (pl.col("local_amount") != 0)).then(
        (number(pl.col("billed_usd")) / number(pl.col("local_amount"))).abs()).otherwise(1.0)
    half = 0.5 * pl.lit(10.0).pow(-pl.col("_digits").fill_null(18).cast(pl.Float64)) * dollars
    return lines.with_columns(
        rounded_n=pl.col("bill_rows").fill_null(0) * half * 1.000001,
        slack_n=pl.col("bill_rows").fill_null(0) * half * 1.000001 + pl.col("requests").fill_null(0) * 1e-12 + 2e-12
        + pl.when(foreign).then(number(pl.col("list_usd")).abs() * 1e-9).otherwise(0.0))


def _implied(lines: pl.DataFrame, others: pl.DataFrame, deals: pl.DataFrame) -> pl.DataFrame:
    """Lines with the bill's factor on list, `asked_usd` (its list-equivalent) and `bought` (the billed quantity).

    A bill that tells no quantity implies one: the logged quantity where a price explains the amount, else the amount
    divided by the price where that gives a whole number.
    """
    both = pl.col("on_bill") & pl.col("in_logs")
    lines = lines.with_columns(bought=pl.when("on_bill").then(pl.col("billed_quantity")).otherwise(0).cast(COUNT))
    given = pl.coalesce("bought", pl.when(both).then(pl.col("logged")))
    lines = lines.with_columns(expected_usd=_cost_of(given, both), list_n=number(pl.col("list_usd")))
    lines = lines.with_columns(expected_n=number(pl.col("expected_usd")))
    alts = _ratios(lines, others)
    lines = attached(lines, alts)
    lines = _factored(lines, deals)
    lines = lines.with_columns(bought_n=number(given))
    few = lines.filter(pl.col("on_bill") & pl.col("bought").is_null())
    if few.is_empty():
        return lines.drop("alts")
    lines = attached(lines, _guessed(lines, few, others))
    return lines.with_columns(bought=pl.coalesce("bought", "_guess").cast(COUNT)).drop("alts", "_guess")


def _guessed(lines: pl.DataFrame, few: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """`line_id` and `_guess`: the quantity that the bill implies for the `few` lines that tell none."""
    both = pl.col("on_bill") & pl.col("in_logs")
    same = diagnose.steady(few.filter(both)).filter(~pl.col("pattern").is_in(["single", "edge"])).select(
        "line_id", "ratio", _steady=pl.lit(value=True))
    exact = diagnose.other_price(few, others).select("line_id", _other=pl.lit(value=True))
    few = attached(attached(few, same.select("line_id", "_steady")), exact)
    unit_n = number(at_book(pl.lit(1_000_000))) / 1e6
    few = few.with_columns(_own=pl.when((pl.col("logged") > 0) & (pl.col("computed_usd") > 0)).then(
        number(pl.col("computed_usd")) / number(pl.col("logged"))).otherwise(unit_n))
    few = attached(few, _ratio_around(lines, same))
    own_n = pl.col("_own") * pl.col("_around").fill_null(1.0)
    count = pl.col("asked_n") / own_n
    whole = (count - count.round(0)).abs() <= pl.max_horizontal(pl.lit(1e-6), count.abs() * 1e-12)
    fine = ~pl.col("in_logs") | (pl.col("rounded_n") < own_n / 4)
    certain = whole & fine & (count > 0) & (count < 1e15)
    price = pl.col("_steady").fill_null(value=False) | pl.col("_other").fill_null(value=False)
    at_list = (pl.col("asked_n") - number(pl.col("computed_usd"))).abs() <= pl.col("slack_n")
    guess = (pl.when(both & (price | at_list)).then(pl.col("logged"))
             .when(certain).then(count.round(0).cast(COUNT)).when(both).then(pl.col("logged")))
    return few.select("line_id", _guess=guess.cast(COUNT))


def _ratio_around(lines: pl.DataFrame, same: pl.DataFrame) -> pl.DataFrame:
    """For odd lines without a quantity: the ratio to list of the same model and unit on the days around."""
    sku = list(diagnose.WIDE)
    dated = lines.filter(pl.col("on_bill") & pl.col("day").is_not_null()).join(same, on="line_id", how="left")
    at_list = pl.col("in_logs") & ((pl.col("asked_n") - pl.col("expected_n")).abs() <= pl.col("slack_n"))
    steady = pl.col("ratio").is_not_null() | at_list.fill_null(value=False)
    known = dated.filter(steady).group_by(*sku, "day").agg(_around=pl.col("ratio").fill_null(1.0).max()).sort("day")
    asked = dated.filter(~steady & pl.col("billed_quantity").is_null()).select("line_id", *sku, "day").sort("day")
    return asked.join_asof(known, on="day", by=sku, strategy="nearest", check_sortedness=False).select(
        "line_id", "_around")


def _cost_of(count: pl.Expr, both: pl.Expr) -> pl.Expr:
    """List cost of a billed quantity: at the price of the logged usage of the line, else at the book's."""
    logged = both & (pl.col("logged") > 0) & (pl.col("unpriced") == 0)
    return pl.when(logged & (count == pl.col("logged"))).then(pl.col("computed_usd")).when(logged).then(
        share(pl.col("computed_usd"), count, pl.col("logged"))).when(pl.col("unpriced") > 0).then(None).otherwise(
        at_book(count))


def _ratios(lines: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Per line the ratios to its own price that other prices of its model would give."""
    own = lines.filter((pl.col("expected_n") > 0) & (pl.col("logged") > 0)).select(
        "line_id", "provider", "model_id", "unit", _own=pl.col("expected_n") / number(pl.coalesce("bought", "logged")))
    met = own.join(others.select("provider", "model_id", "unit", "alt_usd").unique(),
                   on=["provider", "model_id", "unit"])
    return met.group_by("line_id").agg(alts=(pl.col("alt_usd") / pl.col("_own")).round(9).unique())


def _factored(lines: pl.DataFrame, deals: pl.DataFrame) -> pl.DataFrame:
    """Lines with the factor of their bill and what they would cost without it; an agreed discount is tried first."""
    factor = diagnose.factors(lines)
    lines = lines.join(factor, on=["scope", "day"], how="left", nulls_equal=True, maintain_order="left")
    lines = attached(lines, deals)
    granted = (pl.col("list_n") - pl.col("agreed_factor") * pl.col("expected_n")).abs() <= (
        pl.col("slack_n") + pl.col("list_n").abs() * 1e-9)
    lines = lines.with_columns(granted=granted.fill_null(value=False)).with_columns(
        factor=pl.when("granted").then(pl.col("agreed_factor")).otherwise(pl.col("factor")))
    divisor = pl.col("factor").round(9).cast(pl.Decimal(38, 9)).cast(USD)
    return lines.with_columns(asked_usd=pl.when(pl.col("factor").is_null() | ~pl.col("on_bill")).then(
        pl.col("list_usd")).otherwise((pl.col("list_usd") / divisor).cast(USD))).with_columns(
        asked_n=number(pl.col("asked_usd")))


def _expected(lines: pl.DataFrame) -> pl.DataFrame:
    """`expected_usd`: list cost of the billed quantity by the line's own key; NULL where no price is known."""
    both = pl.col("on_bill") & pl.col("in_logs")
    plain = _cost_of(pl.col("bought"), both & pl.col("moved").is_null())
    same = pl.col("moved").is_not_null() & at_book(pl.col("bought")).is_null()
    return lines.with_columns(expected_usd=pl.when(~pl.col("on_bill")).then(ZERO).when(same).then(
        pl.col("asked_usd")).otherwise(pl.when(pl.col("moved").is_not_null()).then(at_book(pl.col("bought"))).otherwise(
            plain))).with_columns(expected_n=number(pl.col("expected_usd")))


def _moved(lines: pl.DataFrame, match: Matched, other: pl.DataFrame) -> pl.DataFrame:
    """`line_id`, `shift` (cause of a difference of quantity), `shift_detail`, each line once."""
    late = lines.filter(~pl.col("in_month") & ~pl.col("in_logs")).select(
        "line_id", cause=pl.lit("timing"), detail=pl.lit("used in another month, billed in this one"))
    found = [late, moves.elsewhere(lines, match.elsewhere), moves.shifted(lines), _nameless(lines, other)]
    return pl.concat(found).unique("line_id", keep="first", maintain_order=True).rename(
        {"cause": "shift", "detail": "shift_detail"})


def _nameless(lines: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Logged usage without a bill line that costs exactly what a line costs which was not understood."""
    odd = other.filter(pl.col("kind") == "unmapped").select("scope", _day="day", _amount="billed_usd",
                                                            _text="description")
    loose = lines.filter(~pl.col("on_bill") & (pl.col("computed_usd") > TINY))
    met = loose.join(odd, left_on=["scope", "computed_usd"], right_on=["scope", "_amount"]).filter(
        pl.col("day").is_null() | pl.col("_day").is_null() | (pl.col("day") == pl.col("_day")))
    return met.unique("line_id", keep="first").select(
        "line_id", cause=pl.lit("unmapped_line"), detail=pl.lit("costs what the line costs: ") + pl.col("_text"))


def _parts_tested(lines: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """`whole_quantity`: true where the difference is a whole number of units at prices that the line already has.

    A line that sums two prices (standard and batch on a bill without tiers) hides which of them lacks usage.
    """
    odd = lines.filter(pl.col("on_bill") & pl.col("in_logs") & pl.col("moved").is_null()
                       & (pl.col("bought") != pl.col("logged"))).select(
        "line_id", *KEY, _dq=number(pl.col("bought") - pl.col("logged")),
        _gap=pl.col("asked_n") - number(pl.col("computed_usd")), _tol="slack_n")
    held = parts.filter(pl.col("quantity") > 0).select(
        *KEY, _p=number(pl.col("list_usd")) / number(pl.col("quantity"))).with_columns(
        _p=pl.col("_p").round_sig_figs(12)).unique()
    met = odd.join(held, on=list(KEY), nulls_equal=True)
    one = met.filter((pl.col("_gap") - pl.col("_dq") * pl.col("_p")).abs() <= pl.col("_tol") + 1e-12).select("line_id")
    two = met.group_by("line_id").agg(pl.col("_dq", "_gap").first(), low=pl.col("_p").min(), high=pl.col("_p").max(),
                                      n=pl.len()).filter(pl.col("n") == 2).with_columns(
        _x=(pl.col("_gap") - pl.col("_dq") * pl.col("low")) / (pl.col("high") - pl.col("low"))).filter(
        ((pl.col("_x") - pl.col("_x").round(0)).abs() < 1e-5) & ((pl.col("_x") / pl.col("_dq")).is_between(0, 1))
    ).select("line_id")
    good = pl.concat([one, two]).unique().with_columns(whole_quantity=pl.lit(value=True))
    lines = attached(lines, good).with_columns(
        pl.col("whole_quantity").fill_null(value=False))
    return lines.with_columns(expected_usd=pl.when("whole_quantity").then(pl.col("asked_usd")).otherwise(
        pl.col("expected_usd"))).with_columns(expected_n=number(pl.col("expected_usd")))


def _priced(lines: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """`price_cause` and its evidence for lines whose list cost as billed is not that of the billed quantity."""
    lines = lines.with_columns(bought_n=number(pl.col("bought")))
    gap = (pl.col("asked_n") - pl.col("expected_n")).abs()
    off = gap > pl.max_horizontal("slack_n", pl.lit(2e-12))
    exact = diagnose.other_price(lines.filter(pl.col("on_bill") & off), others)
    few = lines.filter(off | pl.col("expected_n").is_null())
    few = attached(attached(few, exact.select("line_id", "cause")), diagnose.steady(lines))
    plain = diagnose.significant(pl.col("asked_n") / pl.col("bought_n") * 1e6, 4)
    pattern, alone = pl.col("pattern"), pl.col("alone").fill_null(value=False)
    causes = few.select("line_id", price_cause=(
        pl.when(pl.col("expected_n").is_null() & (pl.col("unpriced") > 0)).then(pl.lit("price_book"))
        .when(pl.col("expected_n").is_null()).then(pl.lit("missing_usage"))
        .when((pl.col("covered_quantity") > 0) & (pl.col("logged") == 0)).then(pl.lit("commitment"))
        .when(pl.col("cause").is_not_null()).then(pl.col("cause"))
        .when(pattern == "step").then(pl.lit("price_change"))
        .when(pattern.is_in(["whole", "some"])).then(pl.lit("price_book"))
        .when(plain & alone).then(pl.lit("price_book"))
        .when(plain & (pattern == "edge")).then(pl.lit("price_change"))
        .otherwise(pl.lit("unexplained"))))
    lines = attached(attached(lines, exact.drop("cause")), causes)
    return lines.with_columns(pl.col("price_cause").fill_null("rounding"))


def _steps(lines: pl.DataFrame) -> pl.DataFrame:
    """One row per line and step that is not zero."""
    known = pl.col("expected_usd").is_not_null()
    at_cost = pl.coalesce("expected_usd", "computed_usd")
    lines = lines.with_columns(_counted=at_cost - pl.col("computed_usd"), _priced=pl.col("asked_usd") - at_cost,
                               _factored=pl.col("list_usd") - pl.col("asked_usd"))
    # a pico-dollar left by a price without end belongs to the step that made it
    crumb = (pl.col("_priced").abs() <= TINY) & (pl.col("_priced") != 0)
    lines = lines.with_columns(
        _counted=pl.when(crumb & (pl.col("_counted") != 0)).then(pl.col("_counted") + pl.col("_priced"))
        .otherwise(pl.col("_counted")),
        _factored=pl.when(crumb & (pl.col("_counted") == 0) & (pl.col("_factored") != 0)).then(
            pl.col("_factored") + pl.col("_priced")).otherwise(pl.col("_factored")),
        _priced=pl.when(crumb & ((pl.col("_counted") != 0) | (pl.col("_factored") != 0))).then(ZERO).otherwise(
            pl.col("_priced")))
    tool = pl.col("unit").is_in(TOOLS)
    coverage = (pl.when(pl.col("moved").is_not_null()).then(pl.col("moved").replace({"same": "quantity"}))
                .when(pl.col("shift").is_not_null()).then(pl.col("shift")).when(tool).then(pl.lit("tool_fee"))
                .when((pl.col("covered_quantity") > 0) & (pl.col("bought") > pl.col("logged"))).then(pl.lit("commitment"))
                .when(~pl.col("on_bill")).then(pl.lit("extra_usage")).when(~pl.col("in_logs")).then(
                    pl.lit("missing_usage")).otherwise(pl.lit("quantity")))
    # what a joined line still differs by is the price of the other key: the book may not know it
    off = pl.col("price_cause") != "rounding"
    price = (pl.when(pl.col("moved").is_not_null() & off).then(pl.col("moved").replace({"same": "price_book"}))
             .when(known).then(pl.col("price_cause")).when(pl.col("shift").is_not_null()).then(pl.col("shift"))
             .when(tool & (pl.col("unpriced") == 0)).then(pl.lit("tool_fee")).otherwise(pl.col("price_cause")))
    foreign = (pl.col("currency").fill_null("USD") != "USD") & ~pl.col("rate_told").fill_null(value=True)
    near = (pl.col("factor") - 1).abs() < 0.25
    factor = (pl.when(foreign & near).then(pl.lit("fx")).when((pl.col("factor") > 1) & ~pl.col("granted")).then(
        pl.lit("price_book")).otherwise(pl.lit("discount")))
    steps: tuple[tuple[str, pl.Expr, pl.Expr], ...] = (
        ("_counted", coverage, pl.coalesce("moved_from", "shift_detail", _coverage_detail(lines))),
        ("_priced", price, _price_detail()),
        ("_factored", factor, pl.lit("the bill is list x ") + pl.col("factor").cast(pl.String)),
        ("discount_usd", pl.lit("discount"), pl.lit("contracted against list cost, as the bill tells them")),
        ("commitment_usd", pl.lit("commitment"), pl.lit("covered by a commitment or reservation")),
        ("credit_usd", pl.lit("credit"), pl.lit("paid from prepaid credit")),
        ("fx_usd", pl.lit("fx"), pl.lit("the group's rate against the provider's")),
    )
    made = [lines.filter(pl.col(name) != 0).select(
        "line_id", cause=cause, cause_usd=pl.col(name).cast(USD),
        agreed=pl.col("granted").fill_null(value=False) & pl.lit(name == "_factored"), detail=detail.cast(pl.String))
        for name, cause, detail in steps]
    return pl.concat(made).group_by("line_id", "cause").agg(
        pl.col("cause_usd").sum(), pl.col("agreed").all(), pl.col("detail").drop_nulls().first()).filter(
        pl.col("cause_usd") != 0).select(pl.col(n).cast(t) for n, t in CAUSE_SCHEMA.items())


def _coverage_detail(lines: pl.DataFrame) -> pl.Expr:
    """What one side has and the other lacks, in words."""
    billed, logged = (lines.filter(side)["scope"].unique().to_list() for side in ("on_bill", "in_logs"))
    scope = pl.col("scope")
    return (pl.when(~pl.col("on_bill") & ~scope.is_in(billed)).then(pl.lit("no bill of this month yet"))
            .when(~pl.col("on_bill")).then(pl.lit("logged, and on no line of the bill"))
            .when(~pl.col("in_logs") & ~scope.is_in(logged)).then(pl.lit("no usage log of this issuer at all"))
            .when(~pl.col("in_logs")).then(pl.lit("billed, and in no log of that day"))
            .when(pl.col("covered_quantity") > 0).then(pl.lit("on the bill by the token, and served by throughput paid "
                                                              "by the hour"))
            .otherwise(pl.format("{} billed, {} logged", pl.col("bought").round(0).cast(pl.Int64),
                                 pl.col("logged").round(0).cast(pl.Int64))))


def _price_detail() -> pl.Expr:
    """What the bill's price is, in words."""
    implied = pl.format("{} USD per million billed", (
        pl.col("asked_n") / pl.col("bought_n") * 1e6).round_sig_figs(9))
    return (pl.when(pl.col("unpriced") > 0).then(pl.lit("no price in the book; ") + implied)
            .when(pl.col("price_cause").is_in(["tier", "region"])).then(
        pl.format("billed at the price of {} {}", "alt_tier", "alt_region"))
        .when((pl.col("price_cause") == "price_change") & pl.col("alt_from").is_not_null()).then(
        pl.format("billed at the price of {}", pl.col("alt_from").dt.to_string("%Y-%m-%d")))
        .otherwise(implied))


def _other_lines(other: pl.DataFrame, lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tax, credits, fees ... as lines without a computed side, each its own cause."""
    first = int(lines["line_id"].max() or 0) + 1  # type: ignore[arg-type]
    rows = other.with_row_index("line_id", offset=first).with_columns(
        pl.col("line_id").cast(pl.UInt32), account_id=pl.col("billing_account"), on_bill=pl.lit(value=True),
        in_logs=pl.lit(value=False), computed_usd=ZERO, list_usd=pl.col("billed_usd"), bill_source=pl.col("source"),
        computed_effective_usd=ZERO, bill_line=pl.col("line"), fx_usd=pl.col("report_usd") - pl.col("billed_usd"),
        in_month=pl.lit(value=True)).drop("line")
    cause = pl.col("kind").replace_strict(KIND_CAUSE, default="unexplained", return_dtype=pl.String)
    named = rows.filter(pl.col("billed_usd") != 0).select(
        "line_id", cause=cause, cause_usd=pl.col("billed_usd"), agreed=pl.lit(value=False),
        detail=pl.col("description"))
    fx = rows.filter(pl.col("fx_usd") != 0).select(
        "line_id", cause=pl.lit("fx"), cause_usd=pl.col("fx_usd"), agreed=pl.lit(value=False),
        detail=pl.lit("the group's rate against the provider's"))
    made = pl.concat([named, fx]).select(pl.col(n).cast(t) for n, t in CAUSE_SCHEMA.items())
    return rows, made
