"""One planter per cause of the contract: it changes a world and says which amount it planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from random import Random

import polars as pl

from tests.unit.reconcile.world import MONTH, UNITS, USD, World, costed

Planted = tuple[World, Mapping[str, Decimal]]
Planter = Callable[[World, Random], Planted]
DAILY = ("openai", "anthropic", "aws")


def total(frame: pl.DataFrame, name: str) -> Decimal:
    return Decimal(frame[name].sum() or 0)


def cost(usage: pl.DataFrame) -> Decimal:
    return sum((total(usage, f"c_{u}") for u in UNITS), Decimal(0))


def some_day(world: World, rng: Random, scope: str) -> tuple[str, date]:
    """A model and a day of a scope on which it was used, not the first or last day of the month."""
    seen = world.usage.filter(pl.col("scope") == scope).select("model_id", day=pl.col("at").dt.date()).unique().sort(
        "model_id", "day").rows()
    middle = [one for one in seen if 1 < one[1].day < 28] or seen
    return rng.choice(middle)


def line(world: World, rng: Random, *, told: bool | None = None, daily: bool | None = None, least: int = 1000
         ) -> dict[str, object]:
    """A usage line of the bill with enough quantity, as a row."""
    lines = world.bill.with_row_index("at").filter(pl.col("quantity") > least, pl.col("kind") == "usage",
                                                   pl.col("status") == "mapped", pl.col("billed_usd") > 0)
    if told is not None:
        lines = lines.filter(pl.col("told") == told)
    if daily is not None:
        lines = lines.filter(pl.col("day").is_not_null() == daily)
    return lines.row(rng.randrange(lines.height), named=True)


def repriced(world: World, where: pl.Expr, factor: Decimal) -> tuple[World, Decimal]:
    """The bill with lines at another price, and how much more they cost."""
    new = {name: pl.when(where).then((pl.col(name) * pl.lit(factor).cast(pl.Decimal(10, 4))).cast(USD)).otherwise(
        pl.col(name)) for name in ("list_usd", "billed_usd", "contracted_usd", "effective_usd")}
    bill = world.bill.with_columns(**new)
    mine = pl.col("period") == MONTH
    return world.with_bill(bill), total(bill.filter(mine), "billed_usd") - total(world.bill.filter(mine), "billed_usd")


def missing_usage(world: World, rng: Random) -> Planted:
    """The log of one model and day is lost."""
    scope = rng.choice(DAILY)
    model, day = some_day(world, rng, scope)
    gone = (pl.col("scope") == scope) & (pl.col("model_id") == model) & (pl.col("at").dt.date() == day)
    lost = cost(world.usage.filter(gone))
    return replace(world, usage=world.usage.filter(~gone)), {"missing_usage": lost}


def extra_usage(world: World, rng: Random) -> Planted:
    """The bill leaves out one model and day."""
    scope = rng.choice(DAILY)
    model, day = some_day(world, rng, scope)
    gone = (pl.col("scope") == scope) & (pl.col("model_id") == model) & (pl.col("day") == day).fill_null(value=False)
    return world.with_bill(world.bill.filter(~gone)), {"extra_usage": -total(world.bill.filter(gone), "list_usd")}


def quantity(world: World, rng: Random) -> Planted:
    """One line counts more tokens than the log, at the same price."""
    one = line(world, rng, least=5000)
    more = rng.randint(101, 4999)
    price = Decimal(str(one["list_usd"])) / Decimal(str(one["quantity"]))
    amount = (price * more).quantize(Decimal(1).scaleb(-18))
    at = pl.int_range(pl.len()) == one["at"]
    bill = world.bill.with_columns(
        quantity=pl.when(at).then(pl.col("quantity") + more).otherwise("quantity"),
        **{n: pl.when(at).then(pl.col(n) + pl.lit(amount).cast(USD)).otherwise(pl.col(n))
           for n in ("list_usd", "billed_usd", "contracted_usd", "effective_usd")})
    return world.with_bill(bill), {"quantity": amount}


def model_mapping(world: World, rng: Random) -> Planted:
    """The log names another model than the one that is billed, on one day."""
    scope = rng.choice(("openai", "anthropic", "aws"))
    model, day = some_day(world, rng, scope)
    spare = {"openai": "gpt-4.1-mini-2025-04-14", "anthropic": "claude-sonnet-4-5-20250929",
             "aws": "amazon.nova-pro-v1:0"}[scope]
    here = (pl.col("scope") == scope) & (pl.col("model_id") == model) & (pl.col("at").dt.date() == day)
    usage = costed(world.usage.with_columns(model_id=pl.when(here).then(pl.lit(spare)).otherwise("model_id")))
    return replace(world, usage=usage), {"model_mapping": cost(world.usage) - cost(usage)}


def tier(world: World, rng: Random) -> Planted:
    """One model and day that was logged as batch is billed as standard."""
    scope = rng.choice(("openai", "anthropic"))
    lines = world.bill.filter((pl.col("scope") == scope) & (pl.col("tier") == "batch") & (pl.col("quantity") > 100))
    model, day = rng.choice(sorted(set(lines.select("model_id", "day").iter_rows())))
    here = ((pl.col("scope") == scope) & (pl.col("model_id") == model) & (pl.col("day") == day).fill_null(value=False)
            & (pl.col("tier") == "batch").fill_null(value=False))
    standard = None if scope == "openai" else "standard"
    moved = world.bill.filter(here).with_columns(
        tier=pl.lit(standard, dtype=pl.String),
        **{n: (pl.col(n) * 2).cast(USD) for n in ("list_usd", "billed_usd", "contracted_usd", "effective_usd")})
    amount = total(world.bill.filter(here), "list_usd")
    keys = [c for c in world.bill.columns if c not in ("quantity", "list_usd", "billed_usd", "contracted_usd",
                                                       "effective_usd")]
    bill = pl.concat([world.bill.filter(~here), moved]).group_by(keys, maintain_order=True).agg(pl.all().sum())
    return world.with_bill(bill.select(world.bill.columns)), {"tier": amount}


def price_change(world: World, rng: Random) -> Planted:
    """From a day on one model's unit is billed at another price."""
    one = line(world, rng, daily=True)
    start = date(2026, 10, rng.randint(3, 6))
    where = ((pl.col("model_id") == one["model_id"]) & (pl.col("unit") == one["unit"]) & (pl.col("day") >= start)
             & (pl.col("scope") == one["scope"])).fill_null(value=False)
    world, amount = repriced(world, where, rng.choice([Decimal("1.2"), Decimal("0.8"), Decimal("1.15")]))
    return world, {"price_change": amount}


def price_book(world: World, rng: Random) -> Planted:
    """One model's unit is billed at another price throughout."""
    one = line(world, rng)
    where = pl.all_horizontal(pl.col(name) == pl.lit(one[name]) for name in ("model_id", "unit", "scope"))
    world, amount = repriced(world, where, rng.choice([Decimal("1.3"), Decimal("0.7"), Decimal("1.25")]))
    return world, {"price_book": amount}


def region(world: World, rng: Random) -> Planted:
    """One model and day is billed in the United States, a tenth dearer."""
    model, day = some_day(world, rng, "anthropic")
    here = ((pl.col("scope") == "anthropic") & (pl.col("model_id") == model) & (pl.col("day") == day)).fill_null(
        value=False)
    world, amount = repriced(world, here, Decimal("1.1"))
    bill = world.bill.with_columns(region=pl.when(here).then(pl.lit("us")).otherwise("region"))
    return world.with_bill(bill), {"region": amount}


def discount(world: World, rng: Random) -> Planted:
    """A percentage off: told as contracted cost, silent on every line, or as a line of its own."""
    scope, style = rng.choice(DAILY), rng.choice(("told", "silent", "line"))
    here = pl.col("scope") == scope
    mine = here & (pl.col("period") == MONTH)
    before = total(world.bill.filter(mine), "billed_usd")
    if style == "line":
        amount = -(before * Decimal("0.1")).quantize(Decimal("0.01"))
        head = world.bill.filter(here).row(0, named=True)
        return world.with_line(scope=scope, provider=head["provider"], bill=head["bill"], issuer=head["issuer"],
                               billed_usd=amount, kind="discount", category="Credit", text="Volume discount"), {
            "discount": amount}
    names = ("billed_usd", "contracted_usd", "effective_usd", *(("list_usd",) if style == "silent" else ()))
    factor = pl.lit(rng.choice([Decimal("0.9"), Decimal("0.85"), Decimal("0.95")])).cast(pl.Decimal(10, 4))
    bill = world.bill.with_columns(
        basis=pl.when(here).then(pl.lit("provider" if style == "told" else "assumed_billed")).otherwise("basis"),
        **{n: pl.when(here).then((pl.col(n) * factor).cast(USD)).otherwise(pl.col(n)) for n in names})
    return world.with_bill(bill), {"discount": total(bill.filter(mine), "billed_usd") - before}


def commitment(world: World, rng: Random) -> Planted:
    """A commitment covers lines of one day; its fee stands apart."""
    model, day = some_day(world, rng, "aws")
    here = ((pl.col("scope") == "aws") & (pl.col("model_id") == model) & (pl.col("day") == day)).fill_null(value=False)
    covered = total(world.bill.filter(here), "billed_usd")
    bill = world.bill.with_columns(
        billed_usd=pl.when(here).then(pl.lit(Decimal(0)).cast(USD)).otherwise("billed_usd"),
        commitment=pl.when(here).then(pl.lit("sp-1")).otherwise("commitment"),
        basis=pl.when(here).then(pl.lit("provider")).otherwise("basis"))
    fee = Decimal(rng.randint(100, 900))
    made = world.with_bill(bill).with_line(
        scope="aws", provider="aws.bedrock", bill="bedrock-cur", issuer="AWS", billed_usd=fee, kind="commitment_fee",
        category="Purchase", text="Commitment fee")
    return made, {"commitment": fee - covered}


def simple(cause: str, kind: str, category: str, sign: int, status: str = "not_usage") -> Planter:
    """A line of its own."""
    def plant(world: World, rng: Random) -> Planted:
        scope = rng.choice(DAILY)
        head = world.bill.filter(pl.col("scope") == scope).row(0, named=True)
        amount = sign * Decimal(rng.randint(101, 99_999)) / 100
        return world.with_line(scope=scope, provider=head["provider"], bill=head["bill"], issuer=head["issuer"],
                               billed_usd=amount, kind=kind, category=category, status=status,
                               day=date(2026, 10, rng.randint(2, 20)), text=f"{cause} of October"), {cause: amount}
    return plant


def fx(world: World, rng: Random) -> Planted:
    """The bill of one issuer comes in euros: the provider's rate is 0.8, the group's 0.78125."""
    scope = rng.choice(("openai", "aws"))
    here = pl.col("scope") == scope
    rate = pl.lit(Decimal("0.8")).cast(pl.Decimal(10, 4))
    names = ("list_usd", "billed_usd", "contracted_usd", "effective_usd")
    dollars = total(world.bill.filter(here & (pl.col("period") == MONTH)), "billed_usd")
    bill = world.bill.with_columns(
        currency=pl.when(here).then(pl.lit("EUR")).otherwise("currency"),
        rate=pl.when(here).then(rate.cast(USD)).otherwise("rate"),
        **{n: pl.when(here).then((pl.col(n) * rate).cast(USD)).otherwise(pl.col(n)) for n in names})
    return world.with_bill(bill), {"fx": dollars * Decimal("0.8") / Decimal("0.78125") - dollars}


RATES = pl.DataFrame([(date(2026, 10, 1), "USD", "EUR", Decimal("0.78125"), "treasury", "market_daily")],
                     schema={"rate_date": pl.Date(), "base": pl.String(), "quote": pl.String(), "rate": USD,
                             "source": pl.String(), "kind": pl.String()}, orient="row")


def rounding(world: World, rng: Random) -> Planted:
    """One issuer rounds every line to four decimals."""
    scope = rng.choice(("openai", "aws", "mistral_ai"))
    here = pl.col("scope") == scope
    names = ("list_usd", "billed_usd", "contracted_usd", "effective_usd")
    bill = world.bill.with_columns(**{n: pl.when(here).then(pl.col(n).round(4).cast(USD)).otherwise(pl.col(n))
                                      for n in names})
    mine = here & (pl.col("period") == MONTH)
    amount = total(bill.filter(mine), "billed_usd") - total(world.bill.filter(mine), "billed_usd")
    foreign = bill.filter(here)["currency"][0] != "USD"
    return world.with_bill(bill), {"rounding": amount / Decimal("0.8") if foreign else amount}


def timing(world: World, rng: Random) -> Planted:
    """Part of the month's last usage stands on the next month's bill, under its day of use."""
    lines = world.bill.with_row_index("at").filter(pl.col("told") & pl.col("day").is_not_null()
                                                   & (pl.col("quantity") > 1000))
    lines = lines.filter(pl.col("day") == pl.col("day").max().over("scope"))
    one = lines.row(rng.randrange(lines.height), named=True)
    at = pl.int_range(pl.len()) == one["at"]
    late = world.bill.filter(at).with_columns(period=pl.lit("2026-11"))
    return world.with_bill(pl.concat([world.bill.filter(~at), late])), {"timing": -Decimal(str(one["list_usd"]))}


def tool_fee(world: World, rng: Random) -> Planted:
    """Web searches on the bill that no log counts."""
    scope = rng.choice(("openai", "anthropic"))
    head = world.bill.filter(pl.col("scope") == scope).row(0, named=True)
    count = rng.randint(5, 900)
    amount = Decimal(count) / 100
    return world.with_line(scope=scope, provider=head["provider"], bill=head["bill"], issuer=head["issuer"],
                           billed_usd=amount, quantity=Decimal(count), unit="web_search", kind="usage",
                           category="Usage", status="mapped", day=date(2026, 10, rng.randint(2, 20)),
                           text="web search"), {"tool_fee": amount}


def unexplained(world: World, rng: Random) -> Planted:
    """One line asks an amount more that nothing accounts for."""
    one = line(world, rng, told=True, daily=True)
    amount = Decimal(rng.randint(10**6, 10**8) * 2 + 1) / Decimal(10**8)
    at = pl.int_range(pl.len()) == one["at"]
    bill = world.bill.with_columns(**{n: pl.when(at).then(pl.col(n) + pl.lit(amount).cast(USD)).otherwise(pl.col(n))
                                      for n in ("list_usd", "billed_usd", "contracted_usd", "effective_usd")})
    return world.with_bill(bill), {"unexplained": amount}


PLANTERS: Mapping[str, Planter] = {
    # those that change single lines first, those that change a whole bill last
    "missing_usage": missing_usage, "extra_usage": extra_usage, "quantity": quantity, "model_mapping": model_mapping,
    "tier": tier, "unexplained": unexplained, "timing": timing, "price_change": price_change,
    "price_book": price_book, "region": region, "discount": discount, "commitment": commitment,
    "credit": simple("credit", "credit", "Credit", -1), "tax": simple("tax", "tax", "Tax", 1),
    "tool_fee": tool_fee, "unmapped_line": simple("unmapped_line", "usage", "Usage", 1, "unmapped"),
    "fx": fx, "rounding": rounding,
}


# -- what contracts account for -----------------------------------------------------------------------------------

def deal(name: str, kind: str, provider: str, **more: object) -> dict[str, object]:
    return {"name": name, "kind": kind, "provider": provider, "valid_from": date(2026, 1, 1), "period": "month",
            "discount_pct": Decimal(0), "amount_usd": Decimal(0), **more}


def asked(world: World, scope: str) -> Decimal:
    """What the month's bill of a scope asks for usage, less discounts."""
    mine = total(world.bill.filter((pl.col("scope") == scope) & (pl.col("period") == MONTH)), "billed_usd")
    if world.extra is None:
        return mine
    extra = world.extra.filter(pl.col("scope") == scope).with_columns(
        pl.col("status").fill_null("not_usage") if "status" in world.extra.columns else pl.lit("not_usage").alias("status"))
    return mine + total(extra.filter((pl.col("kind") == "discount") | (pl.col("status") == "mapped")), "billed_usd")


def shortfall(world: World, rng: Random) -> Planted:
    """A commitment was not drawn, and the bill asks for the rest."""
    rest = Decimal(rng.randint(1_000, 90_000)) / 100
    made = replace(world, deals=(*world.deals, deal("minimum", "commitment", "anthropic",
                                                    amount_usd=asked(world, "anthropic") + rest)))
    return made.with_line(scope="anthropic", provider="anthropic", bill="anthropic-costs", issuer="Anthropic",
                          billed_usd=rest, kind="commitment_fee", category="Purchase", text="Minimum not reached"), {
        "commitment": rest}


def throughput(world: World, rng: Random) -> Planted:
    """Some usage is served by throughput that is paid by the hour: the bill has its fee and none of its tokens."""
    model = "amazon.nova-lite-v1:0"
    mine = world.usage.filter((pl.col("scope") == "aws") & (pl.col("model_id") == model))
    more = costed(mine.head(max(1, mine.height // 2)).with_columns(tier=pl.lit("provisioned")))
    fee = Decimal(rng.randint(10_000, 900_000)) / 100
    made = replace(world, usage=pl.concat([world.usage, more.select(world.usage.columns)]), deals=(
        *world.deals, deal("units", "provisioned", "aws.bedrock", amount_usd=fee, model_id=model)))
    return made.with_line(scope="aws", provider="aws.bedrock", bill="bedrock-cur", issuer="AWS", billed_usd=fee,
                          kind="usage", category="Usage", status="not_usage", tier="provisioned",
                          text="Provisioned throughput, model units"), {"commitment": fee}


def prepaid(world: World, rng: Random) -> Planted:
    """Usage is paid from credit that was bought before: the bill asks nothing for it."""
    here = (pl.col("scope") == "anthropic") & (pl.col("period") == MONTH)
    made = replace(world, deals=(*world.deals, deal(
        "balance", "credit", "anthropic", amount_usd=Decimal(10**9 + rng.randint(0, 9)), period="once")))
    before = total(world.bill.filter(here), "billed_usd")
    bill = world.bill.with_columns(
        billed_usd=pl.when(here).then(pl.lit(Decimal(0)).cast(USD)).otherwise("billed_usd"))
    return made.with_bill(bill), {"credit": -before}


def grant(world: World, rng: Random) -> Planted:
    """A credit is granted, drawn whole and shown as a line of its own."""
    amount = (asked(world, "aws") / rng.randint(2, 9)).quantize(Decimal("0.01"))
    made = replace(world, deals=(*world.deals, deal("grant", "credit", "aws.bedrock", amount_usd=amount, period="once",
                                                    valid_to=date(2026, 12, 31))))
    return made.with_line(scope="aws", provider="aws.bedrock", bill="bedrock-cur", issuer="AWS", billed_usd=-amount,
                          kind="credit", category="Credit", text="Promotional credit"), {"credit": -amount}


def agreed_discount(world: World, rng: Random) -> Planted:
    """A discount that the contract and the bill tell alike."""
    pct = rng.choice((5, 10, 15))
    here = (pl.col("scope") == "aws") & pl.col("commitment").is_null()
    factor = pl.lit(Decimal(100 - pct) / 100).cast(pl.Decimal(10, 4))
    bill = world.bill.with_columns(
        basis=pl.when(here).then(pl.lit("provider")).otherwise("basis"),
        **{n: pl.when(here).then((pl.col(n) * factor).cast(USD)).otherwise(pl.col(n))
           for n in ("billed_usd", "contracted_usd", "effective_usd")})
    made = replace(world, deals=(*world.deals, deal("frame", "discount", "aws.bedrock", discount_pct=Decimal(pct))))
    mine = here & (pl.col("period") == MONTH)
    return made.with_bill(bill), {
        "discount": total(bill.filter(mine), "billed_usd") - total(world.bill.filter(mine), "billed_usd")}


CONTRACTS: Mapping[str, Planter] = {
    "shortfall": shortfall, "throughput": throughput, "prepaid": prepaid, "grant": grant,
    "agreed_discount": agreed_discount,
}
"""What a contract accounts for; planted on a bill that may have other faults already, before it is rounded."""

_LAST = ("fx", "rounding")
ORDER: Mapping[str, Planter] = {
    **{name: plant for name, plant in PLANTERS.items() if name not in _LAST}, **CONTRACTS,
    **{name: PLANTERS[name] for name in _LAST},
}
"""All planters in the order in which they go."""
