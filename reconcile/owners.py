"""Who used it: API keys and projects that only the bill, or only the logs name, by the money behind them."""

from __future__ import annotations

import polars as pl

from costops.reconcile.exact import USD
from costops.reconcile.scope import Pairing
from costops.reconcile.usage import counted_where, placed, spans
from costops.transforms import query

SCHEMA: dict[str, pl.DataType] = {
    "scope": pl.String(), "what": pl.String(), "subject": pl.String(), "amount_usd": USD, "lines": pl.Int64(),
}
"""`what`: `key` or `project`; `lines`: bill rows, or lines of the logs."""

NO_KEY = "(no key: console, playground or agent)"
"""How usage is called that a bill with keys has under none."""

_WHAT_TO_DO = {
    "key_only_billed": "no source logs this key: find its owner, and add the log of what uses it",
    "key_only_logged": "the bill does not know this key: is it billed to another account or organization?",
    "project_only_billed": "no source logs this project: add its log, or assign its key",
    "project_only_logged": "the bill does not know this project: check who pays for it",
}


def billed_owners(rows: pl.DataFrame) -> pl.DataFrame:
    """The keys and projects of bill rows for usage (`scope`, `sub_account`, `x_ApiKeyId`, `billed_usd`)."""
    keyed = rows.filter(pl.col("x_ApiKeyId").is_not_null())["scope"].unique().to_list()
    keys = rows.filter(pl.col("scope").is_in(keyed)).with_columns(subject=pl.col("x_ApiKeyId").fill_null(NO_KEY))
    projects = rows.with_columns(subject=pl.col("sub_account"))
    return pl.concat([_summed(keys, "key", "billed_usd"), _summed(projects, "project", "billed_usd")])


def logged_owners(computed: pl.DataFrame, keys: pl.DataFrame | None) -> pl.DataFrame:
    """The keys and projects of the logs: `computed` lines, and `keys` as `logged_keys` gives them."""
    projects = _summed(computed.with_columns(subject=pl.col("project_id")), "project", "list_usd")
    return projects if keys is None else pl.concat([_summed(keys, "key", "list_usd"), projects])


def logged_keys(connection: query.Connection, charges: str, month: str, pairing: Pairing) -> pl.DataFrame:
    """What each key of the logs cost in the month: `scope`, `subject`, `list_usd`. Asked only where a bill has keys."""
    rows = query.frame(connection, f"""SELECT source, provider, NULL::VARCHAR AS region, api_key_id AS subject,
        coalesce(sum(list_cost_usd), 0) AS list_usd
    FROM {charges} WHERE {counted_where()} AND granularity = 'request' GROUP BY source, provider, api_key_id""",
                       spans(month))
    return placed(rows.with_columns(pl.col("list_usd").cast(USD)), pairing)


def keys_of(frame: pl.DataFrame, month: str, pairing: Pairing) -> pl.DataFrame:
    """The same over a frame of `core_charge` rows."""
    connection = query.connect()
    connection.register("charges_frame", frame.select(
        "source", "provider", "api_key_id", "granularity", "counted", "used_at", "list_cost_usd").to_arrow())
    try:
        return logged_keys(connection, "charges_frame", month, pairing)
    finally:
        connection.close()


def one_sided(billed: pl.DataFrame, logged: pl.DataFrame) -> pl.DataFrame:
    """What one side never names, in scopes where both sides name some in the same words: `SCHEMA`, `kind`, `action`.

    The amount is the bill's, or the negative of what the logs cost.
    """
    on = ["scope", "what", "subject"]
    alike = billed.join(logged, on=on).select("scope", "what").unique()
    theirs, ours = (side.join(alike, on=["scope", "what"]) for side in (billed, logged))
    found = pl.concat([
        theirs.join(ours, on=on, how="anti").with_columns(kind=pl.col("what") + pl.lit("_only_billed")),
        ours.join(theirs, on=on, how="anti").with_columns(
            amount_usd=-pl.col("amount_usd"), kind=pl.col("what") + pl.lit("_only_logged"))])
    return found.with_columns(action=pl.col("kind").replace_strict(_WHAT_TO_DO, return_dtype=pl.String))


def _summed(rows: pl.DataFrame, what: str, amount: str) -> pl.DataFrame:
    made = rows.drop_nulls("subject").group_by("scope", "subject").agg(
        amount_usd=pl.col(amount).sum(), lines=pl.len(), what=pl.lit(what))
    return made.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
