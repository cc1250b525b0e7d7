"""The datasets of the lake: which columns, which key, which partition.

A dataset's name is the folder, the view, the SQL file, the constant and the row in the data dictionary.
"""

from __future__ import annotations

from costops.transforms.billing.columns import (
    BILLING_OWN,
    BILLING_PERIOD,
    COST_AND_USAGE,
    INVOICE_DETAIL,
    INVOICE_OWN,
    SNAPSHOT_ID,
    SNAPSHOT_OWN,
)
from costops.transforms.fields import FIELDS, Field, Type
from costops.transforms.month_tables import (
    OUT_CONTRACT,
    OUT_RECONCILIATION,
    OUT_RECONCILIATION_CORRECTION,
    OUT_RECONCILIATION_LINE,
)
from costops.transforms.table import Table, columns, summed
from costops.transforms.units import UNITS

__all__ = ["OUT_CONTRACT", "OUT_RECONCILIATION", "OUT_RECONCILIATION_CORRECTION", "OUT_RECONCILIATION_LINE", "Table",
           "columns", "summed"]

USAGE_COLUMNS: tuple[str, ...] = (
    "source", "record_id", "response_id", "input_id", "granularity", "used_at", "day",
    "provider", "model_id", "request_model", "operation", "service_tier", "region", "account_id", "project_id",
    "api_key_id", "user_id", "team", "application", "tags",
    "requests", *(u.column for u in UNITS if u.column != "requests"), "input_tokens", "status",
    "reported_cost_usd",
)

CHARGE_COSTS: tuple[str, ...] = (
    "list_cost_usd", "effective_cost_usd", *(u.cost_column for u in UNITS), "price_status", "price_id",
    "price_source", "unpriced_low_usd", "unpriced_high_usd", "counted",
)

_ROW_REQUIRED = frozenset({"source", "record_id", "used_at", "provider", "granularity", "requests", "input_tokens",
                           "uncached_input_tokens", "output_tokens", "service_tier", "status"})

CORE_USAGE = Table(
    "core_usage", "one billed request, or one bucket of an aggregated feed", columns(*USAGE_COLUMNS),
    key=("source", "record_id"), partition=("source", "day"), required=_ROW_REQUIRED,
)
CORE_CHARGE = Table(
    "core_charge", "one billed request or bucket with its price and cost", columns(*USAGE_COLUMNS, *CHARGE_COSTS),
    key=("source", "record_id"), partition=("source", "day"),
    sort=("team", "project_id", "model_id", "service_tier", "used_at", "record_id"),
    required=_ROW_REQUIRED | {"price_status", "counted"},
)
CORE_INPUT = Table(
    "core_input", "one input (file or page) of a source, as last read",
    columns("source", "input_id", "uri", "kind", "content_sha256", "lines_read", "rows_kept", "duplicates",
            "findings", "non_billable", "late_records", "days", "kept_by_day"),
    key=("source", "input_id"), partition=("source",), sort=("uri",), required=frozenset({"input_id", "uri"}),
)
CORE_FINDING = Table(
    "core_finding", "one thing that is wrong, with place, reason and raw excerpt",
    columns("finding_id", "source", "day", "reason", "severity", "dataset", "uri", "input_id", "line", "field",
            "expected", "actual", "excerpt", "mend", "records", "amount_usd"),
    key=("finding_id",), partition=("day", "source"), sort=("reason", "uri", "line", "finding_id"),
    required=frozenset({"finding_id", "reason", "severity"}),
)

SPEND_KEYS: tuple[str, ...] = (
    "source", "provider", "model_id", "service_tier", "operation", "region", "account_id", "project_id",
    "api_key_id", "team", "application",
)
SPEND_TOKENS: tuple[str, ...] = (
    "input_tokens", "uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens",
    "cache_write_1h_tokens", "output_tokens", "reasoning_tokens", "web_searches",
)
SPEND_COSTS: tuple[str, ...] = (
    "list_cost_usd", "effective_cost_usd", "uncached_input_cost_usd", "cache_read_cost_usd",
    "cache_write_5m_cost_usd", "cache_write_1h_cost_usd", "output_cost_usd", "unpriced_low_usd",
    "unpriced_high_usd",
)
_SPEND = (*SPEND_KEYS, "requests", *SPEND_TOKENS, *SPEND_COSTS, "unpriced_requests")

OUT_SPEND_HOURLY = Table(
    "out_spend_hourly", "spend of one hour and one combination of dimensions",
    columns("day", "hour", *_SPEND, types=summed(SPEND_COSTS)),
    key=("hour", *SPEND_KEYS), partition=("day",), sort=("team", "model_id", "hour"),
)
OUT_SPEND_DAILY = Table(
    "out_spend_daily", "spend of one day and one combination of dimensions",
    columns("month", "day", *_SPEND, types=summed(SPEND_COSTS)),
    key=("day", *SPEND_KEYS), partition=("month",), sort=("team", "model_id", "day"),
)

_BILLED = frozenset({
    "source", "billing_period", "snapshot_id", "provider", "BilledCost", "EffectiveCost", "ListCost",
    "ContractedCost", "BillingAccountId", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd",
    "ChargeCategory", "ChargePeriodStart", "ChargePeriodEnd", "InvoiceIssuerName", "ServiceCategory",
    "ServiceName", "ServiceProviderName", "x_MappingStatus", "x_ChargeKind", "x_ListCostBasis", "x_CostBasis",
    "x_SourceRowId", "x_InputId", "x_Line",
})
CORE_BILLING = Table(
    "core_billing", "one FOCUS 1.4 CostAndUsage row as billed, of the snapshot that counts",
    columns("source", BILLING_PERIOD, SNAPSHOT_ID, "provider", *COST_AND_USAGE, *BILLING_OWN),
    key=("source", "billing_period", "x_SourceRowId"), partition=("source", "billing_period"),
    sort=("ChargePeriodStart", "SubAccountId", "x_ModelId", "x_UnitName", "x_SourceRowId"), required=_BILLED,
)
CORE_BILLING_HISTORY = Table(
    "core_billing_history", "one row of a snapshot that does not count: superseded, refused, or late",
    CORE_BILLING.fields, key=("source", "billing_period", "snapshot_id", "x_SourceRowId"),
    partition=("source", "billing_period", "snapshot_id"), sort=CORE_BILLING.sort, required=_BILLED,
)
CORE_BILL_SNAPSHOT = Table(
    "core_bill_snapshot", "one snapshot of a billing period, whether it counts, and its totals by currency",
    columns("source", BILLING_PERIOD, SNAPSHOT_ID, *SNAPSHOT_OWN),
    key=("source", "billing_period", "snapshot_id", "billing_currency"), partition=("source",),
    sort=("billing_period", "as_of", "snapshot_id"),
    required=frozenset({"source", "billing_period", "snapshot_id", "status", "row_count", "billed_cost"}),
)
CORE_INVOICE = Table(
    "core_invoice", "one FOCUS 1.4 InvoiceDetail row: a line of an invoice, or its total where it has no lines",
    columns("source", BILLING_PERIOD, "provider", *INVOICE_DETAIL, *INVOICE_OWN),
    key=("source", "InvoiceIssuerName", "InvoiceId", "InvoiceDetailId"), partition=("billing_period",),
    sort=("provider", "InvoiceIssuerName", "InvoiceId", "InvoiceDetailId"),
    required=frozenset({f.name for f in INVOICE_DETAIL} - {
        "InvoiceDetailDescription", "InvoiceDetailGrain", "InvoiceIssueDate", "PaymentDueDate",
        "PurchaseOrderNumber",
    }) | {"source", "billing_period", "provider", "x_ChargeKind", "x_DocumentType"},
)

_PRICE_OWN: tuple[Field, ...] = (
    Field("mode", Type.TEXT, "`thinking` where a model costs more when it thinks; empty otherwise"),
    Field("unit", Type.TEXT, "what is priced: a name of `units`"),
    Field("price_usd", Type.USD_BILL, "dollars for `per` units, with every published digit"),
    Field("per", Type.COUNT, "how many units the price is for"),
    Field("minimum", Type.COUNT, "fewest units that one request is billed for"),
    Field("min_input", Type.COUNT, "smallest total input of a request at this price, inclusive"),
    Field("max_input", Type.COUNT, "total input from which another price holds, exclusive"),
    Field("schedule", Type.TEXT, "hours and days of a price that differs by time: zone, windows, days; or empty"),
    Field("in_schedule", Type.FLAG, "whether the price holds inside or outside of the schedule"),
    Field("valid_from", Type.INSTANT, "from when the provider charged it, inclusive (UTC)"),
    Field("valid_to", Type.INSTANT, "until when, exclusive; the year 9999 where no end is known"),
    Field("date_basis", Type.TEXT, "`stated`, `open` (no start is known), `carried back`, `snapshot`"),
    Field("zone", Type.TEXT, "time zone in which the provider states the date"),
    Field("recorded_at", Type.INSTANT, "when the book learned it"),
    Field("retracted_at", Type.INSTANT, "when the book ceased to hold it true; NULL while it does"),
    Field("source_hash", Type.TEXT, "first 12 hex digits of SHA-256 over the feed's figures"),
    Field("note", Type.TEXT, "what the feed says about it: reason, link, caveat"),
)
CORE_PRICE = Table(
    "core_price", "one price of one unit: when it was charged, and when the book held it true",
    columns("price_id", "provider", "model_id", "region", "service_tier", *_PRICE_OWN[:12],
            Field("price_source", Type.TEXT, "the feed that says so, with its version"), *_PRICE_OWN[12:]),
    key=("price_id", "unit", "recorded_at"), sort=("provider", "model_id", "service_tier", "region", "price_id"),
    required=frozenset({"price_id", "provider", "model_id", "unit", "price_usd", "per", "valid_from", "valid_to",
                        "recorded_at", "price_source"}),
)

_SERIES: tuple[Field, ...] = (
    Field("unique_id", Type.TEXT, "the series: `total`, or `dimension=value`"),
    Field("dimension", Type.TEXT, "`total`, `provider`, `model_id`, `team`, `application`"),
    Field("value", Type.TEXT, "the dimension's value"),
)
_NUMBERS = {name: Field(name, Type.NUMBER, doc) for name, doc in {
    "yhat": "the forecast, dollars a day (median)", "mean": "its mean: what adds up over days",
    "lo80": "80 % interval, lower", "hi80": "80 % interval, upper", "lo95": "95 % interval, lower",
    "hi95": "95 % interval, upper", "y": "what was spent, dollars", "expected": "what was to be expected, dollars",
    "lower": "below it a day is odd", "upper": "above it a day is odd", "score": "how odd, in typical deviations",
    "effect": "spent less expected, dollars", "mae": "mean absolute error, dollars a day",
    "wape": "absolute error over what was spent", "mase": "error against that of repeating last week",
    "spent": "spent so far, dollars", "expected_total": "expected total of the period, dollars",
    "chance_exceeded": "probability that the period ends above the budget",
}.items()}
OUT_FORECAST = Table(
    "out_forecast", "one day of one series as forecast on one day",
    columns("day", *_SERIES, Field("ds", Type.DAY, "the day forecast"), Field("cutoff", Type.DAY, "last day known"),
            *(_NUMBERS[name] for name in ("yhat", "lo80", "hi80", "lo95", "hi95", "mean")),
            Field("model", Type.TEXT, "members and weights, or the baseline that was not beaten"),
            Field("grade", Type.TEXT, "how far the series can be forecast: A to F")),
    key=("unique_id", "ds"), partition=("day",), sort=("dimension", "value", "ds"),
)
OUT_FORECAST_SCORE = Table(
    "out_forecast_score", "how well one series was forecast in the backtest or lately, at one horizon; `all`: over series",
    columns("day", *_SERIES, Field("horizon", Type.COUNT, "days ahead"), Field("metric", Type.TEXT, "what is measured"),
            Field("score", Type.NUMBER, "its value")),
    key=("unique_id", "horizon", "metric"), partition=("day",), sort=("dimension", "value", "horizon", "metric"),
)
OUT_BACKTEST = Table(
    "out_backtest", "one day that was held out of the total, as it would have been forecast, beside what came",
    columns("day", *_SERIES, Field("ds", Type.DAY, "the day forecast"), Field("cutoff", Type.DAY, "last day known"),
            *(_NUMBERS[name] for name in ("y", "yhat", "lo80", "hi80", "lo95", "hi95"))),
    key=("unique_id", "cutoff", "ds"), partition=("day",), sort=("dimension", "value", "cutoff", "ds"),
)
OUT_ANOMALY = Table(
    "out_anomaly", "one odd day of one series",
    columns("day", *_SERIES, Field("ds", Type.DAY, "the odd day"),
            *(_NUMBERS[name] for name in ("y", "expected", "lower", "upper", "score", "effect")),
            Field("kind", Type.TEXT, "`spike`, `drop`, `level_shift`, `missing`; `mix`: a week's money on other parts; "
                  "`night_burst`, `absurd_request`, `new_key`: spend that looks like theft or a loop"),
            Field("incident", Type.COUNT, "days and series of one incident share the number"),
            Field("drivers", Type.TEXT, "who shows most of the incident's money, with the share of it"),
            Field("cause", Type.TEXT, "what moved: volume, mix, size, cache, price, in dollars"),
            Field("is_sent", Type.FLAG, "true on the one row of an incident that alerts, and on its worst day where it got "
                  "much worse; old incidents and those over the rate limit have none")),
    key=("unique_id", "ds", "kind"), partition=("day",), sort=("ds", "dimension", "value", "kind"),
)
OUT_BUDGET = Table(
    "out_budget", "one budget in one period, as seen on one day",
    columns("day", Field("budget", Type.TEXT, "its name"), Field("period", Type.TEXT, "`day` or `month`"),
            Field("period_start", Type.DAY, "first day of the period"),
            Field("amount_usd", Type.USD_SUM, "the limit"), Field("spent_usd", Type.USD_SUM, "spent so far"),
            _NUMBERS["expected_total"], _NUMBERS["chance_exceeded"],
            Field("exhausted_on", Type.DAY, "when it is, or is expected to be, used up"),
            Field("threshold", Type.NUMBER, "largest threshold reached, as a share"),
            Field("is_breached", Type.FLAG, "whether more than the limit was spent")),
    key=("budget", "period_start"), partition=("day",), sort=("budget", "period_start"),
)

CORE_FX_RATE = Table(
    "core_fx_rate", "one rate: multiply an amount in `base` by it to have it in `quote`",
    (Field("rate_date", Type.DAY, "the day that it holds for"), Field("base", Type.TEXT, "ISO 4217 code"),
     Field("quote", Type.TEXT, "ISO 4217 code"), Field("rate", Type.USD_BILL, "units of `quote` for one `base`"),
     Field("source", Type.TEXT, "who publishes it"), Field("kind", Type.TEXT, "`daily`, `monthly`, `provider`")),
    key=("rate_date", "base", "quote", "source", "kind"), sort=("rate_date", "base", "quote", "source", "kind"),
)
CORE_BUSINESS_METRIC = Table(
    "core_business_metric", "one value of a business driver on one day",
    (FIELDS["source"], FIELDS["day"], Field("keys", Type.TEXT, "JSON object of the key columns"),
     Field("metric", Type.TEXT, "what is counted"), Field("value", Type.USD_BILL, "how much")),
    key=("source", "day", "keys", "metric"), partition=("source",), sort=("day", "metric", "keys"),
)

_LEDGER_OWN: tuple[Field, ...] = (
    Field("entry", Type.TEXT, "`stage`, `source`, `input` or `partition`: what the row is about"),
    Field("stage", Type.TEXT, "`ingest`, `price`, `spend`, `reconcile`, `detect`, `forecast`, `budget`, `publish`"),
    Field("partition", Type.TEXT, "the partition written, as the folder names say it"),
    Field("outcome", Type.TEXT, "`written`, `unchanged`, `failed`, `refused`"),
    Field("rows", Type.COUNT, "rows of the partition, or of the stage"),
    Field("seconds", Type.NUMBER, "how long the stage took"),
    Field("program_version", Type.TEXT, "version of llm-costops"),
    Field("started_at", Type.INSTANT, "when the run started (UTC)"),
    Field("detail", Type.TEXT, "what there is to say: an error, a gate"),
    Field("number", Type.COUNT, "order within the run"),
)
RUN_LEDGER = Table(
    "run_ledger", "one stage, source, input or partition of one run",
    columns("day", "run_id", *_LEDGER_OWN[:2], "source", "dataset", "uri", "content_sha256", *_LEDGER_OWN[2:5],
            "lines_read", "rows_kept", "duplicates", "findings", "non_billable", "list_cost_usd", *_LEDGER_OWN[5:],
            types=summed(["list_cost_usd"])),
    key=("run_id", "number"), partition=("day",), sort=("run_id", "number"), required=frozenset({"run_id", "entry"}),
)

_FOCUS_OWN: tuple[Field, ...] = (
    *(one for one in BILLING_OWN if one.name in {
        "x_ModelId", "x_UnitName", "x_ServiceTier", "x_Region", "x_Day", "x_MappingStatus", "x_ChargeKind",
        "x_BilledCostUsd", "x_Team"}),
    Field("x_CostBasis", Type.TEXT, "`computed` from usage and price book; `provider_estimated` where the source told "
          "the cost of the request"),
    Field("x_ListCostBasis", Type.TEXT, "`price_book`, or `provider` where the source told the cost"),
    Field("x_Application", Type.TEXT, "application"),
    Field("x_PriceId", Type.TEXT, "joins `core_price.price_id`"),
    Field("x_PriceSource", Type.TEXT, "the feed that the price came from"),
    Field("x_PriceStatus", Type.TEXT, "`priced`, `provider_reported`, `covered`, `free`; usage without a price has no "
          "row here, see `out_spend_daily.unpriced_requests`"),
    Field("x_SourceRowId", Type.TEXT, "hash of what tells the row from others, not of amounts"),
)
OUT_FOCUS_DAILY = Table(
    "out_focus_daily", "computed cost as one FOCUS 1.4 CostAndUsage row per SKU and day",
    columns(BILLING_PERIOD, "source", "provider", *COST_AND_USAGE, *_FOCUS_OWN),
    key=("billing_period", "x_SourceRowId"), partition=("billing_period",),
    sort=("x_Day", "source", "SubAccountId", "x_ModelId", "x_UnitName", "x_SourceRowId"),
    required=frozenset({
        "source", "billing_period", "provider", "BilledCost", "EffectiveCost", "ListCost", "ContractedCost",
        "BillingAccountId", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd", "ChargeCategory",
        "ChargePeriodStart", "ChargePeriodEnd", "InvoiceIssuerName", "ServiceCategory", "ServiceName",
        "ServiceProviderName", "SkuId", "SkuMeter", "PricingQuantity", "PricingUnit", "x_Day", "x_PriceStatus",
        "x_SourceRowId"}),
)
OUT_ALLOCATION = Table(
    "out_allocation", "what one team was given of a shared cost of one month",
    columns("month", Field("allocation", Type.TEXT, "name of the `[[allocations]]` block"),
            Field("method", Type.TEXT, "`even`, `proportional`, `fixed`"),
            Field("from_team", Type.TEXT, "whose effective cost is split; NULL: what belongs to no team"),
            Field("to_team", Type.TEXT, "who is given it; `from_team` itself for what nobody else is given"),
            Field("share", Type.NUMBER, "share of the amount"),
            Field("amount_usd", Type.USD_SUM, "effective cost given; the rows of an allocation and month add up to "
                  "what `from_team` spent, to the last digit")),
    key=("month", "allocation", "to_team"), partition=("month",), sort=("allocation", "to_team"),
    required=frozenset({"month", "allocation", "method", "share", "amount_usd"}),
)
OUT_UNIT_ECONOMICS = Table(
    "out_unit_economics", "cost per unit of one business metric on one day",
    columns("month", "day", "source", Field("metric", Type.TEXT, "what is counted"),
            Field("keys", Type.TEXT, "JSON object of the key columns: which spend the metric belongs to"),
            Field("value", Type.USD_BILL, "how much of the metric"),
            Field("spend_usd", Type.USD_SUM, "effective cost of the day and keys; NULL where none is known"),
            Field("cost_usd", Type.USD_BILL, "effective cost per unit of the metric, 18 digits"),
            "requests", Field("unpriced_requests", Type.COUNT, "requests of them without a price: not in the cost"),
            Field("status", Type.TEXT, "`joined`; `no_spend`: no usage of that day and keys; `unpriced`: none of it "
                  "has a price; `no_value`: the metric is 0; `unknown_key`: a key is no column of spend")),
    key=("day", "source", "metric", "keys"), partition=("month",), sort=("metric", "keys", "day", "source"),
    required=frozenset({"month", "day", "source", "metric", "keys", "status"}),
)
OUT_RECOMMENDATION = Table(
    "out_recommendation", "one thing to look at, with the money that it may save",
    columns("day", Field("kind", Type.TEXT, "`cache`, `batch`, `unread_cache`, `unpriced_model`"),
            Field("subject", Type.TEXT, "what it is about, in words"), "provider", "model_id", "team", "application",
            Field("saving_usd_month", Type.USD_SUM, "estimate for 30 days at the prices of the last day; NULL where it "
                  "cannot be told. Estimates of different kinds overlap: do not add them"),
            Field("spend_usd", Type.USD_SUM, "effective cost of the subject in the days looked at"),
            Field("first_day", Type.DAY, "first day looked at"), Field("last_day", Type.DAY, "last day looked at"),
            Field("evidence", Type.TEXT, "the figures that it rests on"),
            Field("how_to_check", Type.TEXT, "how to see whether it holds")),
    key=("day", "kind", "subject"), partition=("day",), sort=("kind", "subject"),
    required=frozenset({"day", "kind", "subject", "evidence", "how_to_check"}),
)

TABLES: tuple[Table, ...] = (
    CORE_USAGE, CORE_CHARGE, CORE_INPUT, CORE_FINDING, OUT_SPEND_HOURLY, OUT_SPEND_DAILY,
    CORE_BILLING, CORE_BILLING_HISTORY, CORE_BILL_SNAPSHOT, CORE_INVOICE, CORE_PRICE, CORE_FX_RATE,
    CORE_BUSINESS_METRIC, RUN_LEDGER,
    OUT_FORECAST, OUT_FORECAST_SCORE, OUT_BACKTEST, OUT_ANOMALY, OUT_BUDGET, OUT_RECONCILIATION, OUT_RECONCILIATION_LINE,
    OUT_RECONCILIATION_CORRECTION, OUT_FOCUS_DAILY, OUT_ALLOCATION, OUT_UNIT_ECONOMICS, OUT_RECOMMENDATION,
    OUT_CONTRACT,
)

TABLE: dict[str, Table] = {table.name: table for table in TABLES}
