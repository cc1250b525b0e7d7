import marimo

app = marimo.App(width="medium", app_title="Five questions")


@app.cell
def _():
    import os
    from pathlib import Path

    import duckdb
    import marimo as mo
    import vl_convert

    # COSTOPS_LAKE, else the lake of the workspace here, else that of `make demo`
    LAKE = os.environ.get("COSTOPS_LAKE") or next(
        (place for place in ("lake", "demo/lake") if Path(place, "core_charge").exists()), "demo/lake")

    con = duckdb.connect()
    for dataset in ("core_charge", "out_spend_daily", "core_finding"):
        files = f"{LAKE}/{dataset}/**/*.parquet"
        if dataset == "core_finding" and not con.sql(f"FROM glob('{files}')").fetchall():
            con.execute("CREATE TABLE core_finding (reason VARCHAR, severity VARCHAR, records BIGINT)")  # none found
        else:
            con.execute(f"CREATE VIEW {dataset} AS FROM read_parquet('{files}', hive_partitioning = true)")

    def chart(rows, mark, **encoding):
        """A Vega-Lite chart of a frame, drawn here: nothing is fetched."""
        values = [{key: str(value) if hasattr(value, "isoformat") else value if isinstance(value, str)
                   else float(value or 0) for key, value in row.items()} for row in rows.to_dicts()]
        spec = {"width": 640, "height": 260, "data": {"values": values}, "mark": mark, "encoding": encoding}
        return mo.Html(vl_convert.vegalite_to_svg(vl_spec=spec))

    return LAKE, chart, con, mo


@app.cell
def _(LAKE, mo):
    mo.md(f"""
    # Five questions to the lake

    The lake at `{LAKE}` is a folder of Parquet files, so plain DuckDB reads it: no server, no library of ours.
    The columns are described in `docs/data-dictionary.md` of the repository. Money is DECIMAL and sums are exact.
    """)
    return


@app.cell
def _(con, mo):
    mo.md("## 1. What does it cost per day, and whom do we pay?")
    by_day = con.sql("""
        SELECT day, provider, sum(list_cost_usd) AS list_cost_usd
        FROM out_spend_daily GROUP BY ALL ORDER BY day, provider
    """).pl()
    return (by_day,)


@app.cell
def _(by_day, chart):
    chart(by_day, "bar",
          x={"field": "day", "type": "temporal", "title": None},
          y={"field": "list_cost_usd", "type": "quantitative", "title": "USD at list price"},
          color={"field": "provider", "type": "nominal", "title": None})
    return


@app.cell
def _(con, mo):
    teams = con.sql("""
        SELECT coalesce(team, 'no team told') AS team, sum(requests) AS requests,
            sum(list_cost_usd) AS list_cost_usd,
            round(100 * sum(list_cost_usd) / sum(sum(list_cost_usd)) OVER (), 1) AS share_pct,
            sum(unpriced_requests) AS unpriced_requests
        FROM out_spend_daily GROUP BY ALL ORDER BY list_cost_usd DESC NULLS LAST
    """).pl()
    mo.vstack([mo.md("""
    ## 2. Which team spends it?

    A row without a team came from a source that tells none; `[sources.attribution]` in `costops.toml` can say where
    it stands. Unpriced requests are not in the cost: see question 5.
    """), mo.plain(teams)])
    return (teams,)


@app.cell
def _(con, mo):
    caching = con.sql("""
        WITH model AS (
            SELECT provider, model_id,
                sum(cache_read_tokens) AS read_tokens, sum(cache_read_cost_usd) AS read_usd,
                coalesce(sum(cache_write_5m_cost_usd), 0) + coalesce(sum(cache_write_1h_cost_usd), 0) AS write_usd,
                sum(uncached_input_cost_usd)::DOUBLE / nullif(sum(uncached_input_tokens), 0) AS usd_per_uncached_token
            FROM core_charge WHERE counted GROUP BY ALL
        )
        SELECT provider, model_id, read_tokens, read_usd,
            read_tokens * usd_per_uncached_token AS same_tokens_uncached_usd,
            read_tokens * usd_per_uncached_token - read_usd AS saved_usd, write_usd
        FROM model WHERE read_tokens > 0 ORDER BY saved_usd DESC NULLS LAST LIMIT 12
    """).pl()
    mo.vstack([mo.md("""
    ## 3. What does the prompt cache save?

    Tokens read from a cache, at what they cost and at what the model's uncached input cost on average here. Writing to
    the cache costs too: `write_usd` stands beside it. This is an estimate, so it is computed in floating point.
    """), mo.plain(caching)])
    return (caching,)


@app.cell
def _(con, mo):
    requests = con.sql("""
        SELECT provider, model_id, service_tier, count(*) AS requests,
            quantile_disc(list_cost_usd, 0.5) AS p50_usd, quantile_disc(list_cost_usd, 0.95) AS p95_usd,
            max(list_cost_usd) AS dearest_usd, sum(list_cost_usd) AS list_cost_usd
        FROM core_charge WHERE counted AND granularity = 'request' AND list_cost_usd IS NOT NULL
        GROUP BY ALL ORDER BY list_cost_usd DESC LIMIT 12
    """).pl()
    mo.vstack([mo.md("""
    ## 4. What does one request cost?

    Half of them cost less than `p50_usd`. A large step from there to the dearest is worth a look at its `record_id`.
    """), mo.plain(requests)])
    return (requests,)


@app.cell
def _(chart, requests):
    chart(requests, {"type": "point", "filled": True, "size": 90},
          x={"field": "p95_usd", "type": "quantitative", "title": "USD, 95 % of requests cost less"},
          y={"field": "model_id", "type": "nominal", "sort": "-x", "title": None},
          color={"field": "service_tier", "type": "nominal", "title": None})
    return


@app.cell
def _(con, mo):
    outside = con.sql("""
        SELECT 'unpriced model' AS what, provider || ' ' || model_id AS detail, count(*) AS records,
            sum(unpriced_low_usd) AS low_usd, sum(unpriced_high_usd) AS high_usd
        FROM core_charge WHERE counted AND price_status = 'unpriced' GROUP BY ALL
        UNION ALL
        SELECT 'also told by a primary source', source, count(*), NULL, NULL
        FROM core_charge WHERE NOT counted GROUP BY ALL
        UNION ALL
        SELECT 'set aside', reason, sum(records), NULL, NULL
        FROM core_finding WHERE severity = 'error' GROUP BY ALL
        ORDER BY what, records DESC
    """).pl()
    mo.vstack([mo.md("""
    ## 5. What is not in the total?

    A model without a price is never free: its cost lies between that of the cheapest and the dearest known relative,
    where one is known. A request that two sources tell counts once. What could not be read stands in `core_finding`
    with file, line and what to do.
    """), mo.plain(outside)])
    return (outside,)


if __name__ == "__main__":
    app.run()
