"""`gcp.billing_export`: rows of the Cloud Billing export as JSON Lines, CSV, or answers of BigQuery's REST API.

`cost` is before credits; each credit becomes a row of its own with the SKU of its parent. The billing period is
`invoice.month`, the charge period the time of use: they cross over at month ends. Tables only grow, so a row that
two files of a delivery tell is taken as often as the file tells it that tells it most.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl

from costops.transforms.billing.bill import Batch, BillFormat, Delivery, Input, Options, Tally, Times
from costops.transforms.billing.finding import Finding, findings
from costops.transforms.billing.focus_bill import make_focus
from costops.transforms.billing.grammar_google import sku
from costops.transforms.billing.meaning import understand
from costops.transforms.billing.pages import text as as_text
from costops.transforms.billing.plan import plan_by_time
from costops.transforms.billing.rows import CORE_BILLING_EMPTY, MEANINGS, Place, billed, damaged
from costops.transforms.billing.sheets import numbered
from costops.transforms.billing.text import ROWS, Damaged, Sheet, document, numbered_lines, sheet_batches

_PATHS = (
    "billing_account_id", "service.id", "service.description", "sku.id", "sku.description", "usage_start_time",
    "usage_end_time", "project.id", "project.name", "location.region", "location.zone", "resource.name",
    "resource.global_name", "export_time", "cost", "cost_at_list", "currency", "currency_conversion_rate",
    "usage.amount", "usage.unit", "usage.amount_in_pricing_units", "usage.pricing_unit", "price.list_price",
    "price.effective_price", "invoice.month", "cost_type", "adjustment_info.id", "adjustment_info.description",
    "transaction_type", "seller_name", "subscription.instance_id",
)
_COLUMNS = (*_PATHS, "tags", "team", "credit.id", "credit.name", "credit.type", "credit.amount")
_COMMITTED = ("COMMITTED_USAGE_DISCOUNT", "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE", "SUBSCRIPTION_BENEFIT")
_DISCOUNTS = ("SUSTAINED_USAGE_DISCOUNT", "DISCOUNT", "RESELLER_MARGIN", "FREE_TIER", "FEE_UTILIZATION_OFFSET")
_KEYS = ("x_ChargeKind", "BillingAccountId", "InvoiceIssuerName", "SubAccountId", "SkuId", "RegionId", "ResourceId",
         "Tags", "ChargeDescription")


def read(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """The rows of the files; each file's own repetitions stand, those between files count once."""
    taken = Times() if len(delivery.inputs) > 1 else None
    for number, item in enumerate(delivery.inputs):
        here = Times()
        try:
            if not item.uri.lower().split(".gz")[0].endswith((".json", ".jsonl", ".ndjson")):
                yield from _sheet(item, options, number)
                continue
            for part, (lines, wrong) in enumerate(_parts(item)):
                fresh = lines if taken is None else _fresh(lines, taken, here)
                yield numbered(_json(fresh, wrong, len(lines) - len(fresh), item, options), number, part)
        except Damaged as why:
            yield damaged(item, options, str(why))
        if taken is not None:
            taken.at_least(here)


def _fresh(lines: list[tuple[int, Any]], taken: Times, here: Times) -> list[tuple[int, Any]]:
    """The records that this file tells more often than any file before it did."""
    hashes = np.array([int.from_bytes(blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=8).digest(), "big")
                       for _, record in lines], dtype=np.uint64)
    fresh = here.add(hashes) > taken.of(hashes)
    return [line for line, new in zip(lines, fresh.tolist(), strict=True) if new]


def _parts(item: Input) -> Iterator[tuple[list[tuple[int, Any]], list[tuple[int, str]]]]:
    """Records, and lines that are none, in batches."""
    records: list[tuple[int, Any]] = []
    wrong: list[tuple[int, str]] = []
    for number, line in _records(item):
        if isinstance(line, str):
            wrong.append((number, line))
        else:
            records.append((number, line))
        if len(records) + len(wrong) >= ROWS:
            yield records, wrong
            records, wrong = [], []
    if records or wrong:
        yield records, wrong


def _records(item: Input) -> Iterator[tuple[int, Any]]:
    """(number, record) of each record; the text of a line that is none."""
    if not item.uri.lower().split(".gz")[0].endswith(".json") or _is_lines(item):
        for number, line in numbered_lines(item.path):
            try:
                told = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
            except (ValueError, RecursionError):
                told = None
            yield number, told if isinstance(told, dict) else line.decode("utf-8", "replace")[:400]
        return
    told = document(item.path)
    rows = bigquery_rows(told) if isinstance(told, dict) and "schema" in told else told
    if not isinstance(rows, list):
        raise Damaged("neither rows of an export nor an answer of BigQuery")
    yield from enumerate(rows, start=1)


def _is_lines(item: Input) -> bool:
    """Whether a file is JSON Lines under the name of a document, as BigQuery's own exports are called."""
    _, line = next(numbered_lines(item.path), (0, b""))
    try:
        told = json.loads(line)
    except ValueError:
        return False
    return isinstance(told, dict) and "schema" not in told


def bigquery_rows(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a jobs.query answer as nested records; instants in microseconds become ISO text."""
    fields = answer["schema"]["fields"]
    return [_record(fields, row) for row in answer.get("rows", [])]


def _record(fields: list[Mapping[str, Any]], row: Mapping[str, Any]) -> dict[str, Any]:
    return {field["name"]: _value(field, cell.get("v")) for field, cell in zip(fields, row["f"], strict=True)}


def _value(field: Mapping[str, Any], value: Any) -> Any:
    if value is None:
        return None
    if field.get("mode") == "REPEATED":
        return [_value({**field, "mode": "NULLABLE"}, item.get("v")) for item in value]
    if field["type"] in ("RECORD", "STRUCT"):
        return _record(field["fields"], value)
    if field["type"] == "TIMESTAMP" and isinstance(value, str):
        micros = int(value) if value.lstrip("-").isdigit() and len(value) > 12 else round(float(value) * 1_000_000)
        return (datetime(1970, 1, 1) + timedelta(microseconds=micros)).isoformat() + "Z"  # noqa: DTZ001
    return value


def _json(records: list[tuple[int, Any]], wrong: list[tuple[int, str]], again: int, item: Input,
          options: Options) -> Batch:
    tally = Tally(item.uri, len(wrong) + again, 0, again, len(wrong))
    told = findings([Finding("malformed_line", "error", item.uri, number, expected="a JSON object",
                             excerpt=line, mend="export the lines again") for number, line in wrong],
                    source=options.source)
    if not records:
        return Batch(CORE_BILLING_EMPTY, told, tally)
    if "BilledCost" in records[0][1]:
        names = dict.fromkeys(name for _, record in records for name in record)
        data = {name: [as_text(record.get(name)) for _, record in records] for name in names}
        frame = pl.DataFrame(data, schema=dict.fromkeys(names, pl.String)).with_columns(
            pl.Series("_line", [number for number, _ in records], dtype=pl.Int64))
        batch = make_focus(frame, item, options, "Google Cloud")
    else:
        rows = [row for number, record in records for row in _flat(number, record)]
        data = {name: [row.get(name) for row in rows] for name in _COLUMNS}
        frame = pl.DataFrame(data, schema=dict.fromkeys(_COLUMNS, pl.String)).with_columns(
            pl.Series("_line", [row["_line"] for row in rows], dtype=pl.Int64))
        batch = _rows(frame, item, options)
    return Batch(batch.rows, pl.concat([told, batch.findings]), tally + batch.tally)


def _sheet(item: Input, options: Options, number: int) -> Iterator[Batch]:
    """A CSV of the export: nested columns by dots, lists as text."""
    sheet = Sheet()
    for part, frame in enumerate(sheet_batches(item.path, sheet, batch_bytes=options.batch_bytes)):
        if "BilledCost" in frame.columns:
            yield numbered(make_focus(frame, item, options, "Google Cloud"), number, part)
            continue
        rows: list[dict[str, Any]] = []
        for record in frame.iter_rows(named=True):
            nested: dict[str, Any] = {name: record.get(name) or None for name in _PATHS}
            lists = {name: _list(record.get(name)) for name in ("labels", "credits", "project.labels")}
            rows += _expanded(record["_line"], nested, lists)
        data = {name: [row.get(name) for row in rows] for name in _COLUMNS}
        made = pl.DataFrame(data, schema=dict.fromkeys(_COLUMNS, pl.String)).with_columns(
            pl.Series("_line", [row["_line"] for row in rows], dtype=pl.Int64))
        yield numbered(_rows(made, item, options), number, part)


def _list(cell: str | None) -> list[Any]:
    """A list of JSON or of Python literals, as exporters write it; nothing of what is neither."""
    if not cell or cell == "[]":
        return []
    try:
        made = json.loads(cell, parse_float=str, parse_int=str)
    except RecursionError:
        return []
    except ValueError:
        try:
            made = ast.literal_eval(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return []
    return made if isinstance(made, list) else []


def _flat(number: int, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    flat: dict[str, Any] = {}
    for path in _PATHS:
        at: Any = record
        for key in path.split("."):
            at = at.get(key) if isinstance(at, Mapping) else None
        flat[path] = as_text(at)
    project = record.get("project")
    lists = {"labels": record.get("labels") or [], "credits": record.get("credits") or [],
             "project.labels": (project.get("labels") if isinstance(project, Mapping) else None) or []}
    return _expanded(number, flat, lists)


def _expanded(number: int, flat: dict[str, Any], lists: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    labels = {str(pair.get("key")): pair.get("value") for pair in lists["labels"] if isinstance(pair, Mapping)}
    above = {str(pair.get("key")): pair.get("value") for pair in lists["project.labels"] if isinstance(pair, Mapping)}
    flat["tags"] = json.dumps(labels, sort_keys=True) if labels else None
    flat["team"] = labels.get("team") or above.get("team")
    flat["_line"] = number
    rows = [flat]
    rows += [{**flat, "credit.id": as_text(credit.get("id")), "credit.type": as_text(credit.get("type")),
              "credit.name": as_text(credit.get("full_name") or credit.get("name")) or "Credit",
              "credit.amount": as_text(credit.get("amount"))}
             for credit in lists["credits"] if isinstance(credit, Mapping)]
    return rows


def _rows(text: pl.DataFrame, item: Input, options: Options) -> Batch:
    frame = understand(text, ["service.id", "service.description", "sku.description", "cost_type"], sku)
    credit = pl.col("credit.name").is_not_null()
    kind = pl.col("cost_type").fill_null("regular")
    usage = ~credit & kind.is_in(["regular", "adjustment"])
    month = pl.col("invoice.month")
    began = pl.concat_str(month.str.slice(0, 4), pl.lit("-"), month.str.slice(4, 2), pl.lit("-01"))
    amended = (kind == "adjustment") & (pl.col("usage_start_time").str.slice(0, 7) < began.str.slice(0, 7))
    blank = pl.when(usage)
    free = pl.col("credit.type")
    facts = {
        "BilledCost": pl.when(credit).then("credit.amount").otherwise("cost"),
        "ListCost": blank.then("cost_at_list"),
        "ListUnitPrice": blank.then("price.list_price"), "ContractedUnitPrice": blank.then("price.effective_price"),
        "BillingCurrency": pl.col("currency"), "BillingPeriodStart": began,
        "ChargePeriodStart": pl.col("usage_start_time"), "ChargePeriodEnd": pl.col("usage_end_time"),
        "BillingAccountId": pl.col("billing_account_id"), "SubAccountId": pl.col("project.id"),
        "SubAccountName": pl.col("project.name"),
        "SubAccountType": pl.when(pl.col("project.id").is_not_null()).then(pl.lit("Project")),
        "InvoiceIssuerName": pl.coalesce("seller_name", pl.lit("Google Cloud")),
        "ServiceProviderName": pl.when(pl.col("transaction_type").fill_null("GOOGLE") != "GOOGLE").then(
            pl.coalesce("seller_name", pl.lit("Google Cloud"))).otherwise(pl.lit("Google Cloud")),
        "ServiceName": pl.col("service.description"),
        "ChargeCategory": pl.when(credit).then(pl.lit("Credit")).otherwise(kind.replace_strict(
            {"regular": "Usage", "tax": "Tax"}, default="Adjustment", return_dtype=pl.String)),
        "ChargeClass": pl.when(amended).then(pl.lit("Correction")),
        "x_ChargeKind": pl.when(credit & free.is_in(_COMMITTED)).then(pl.lit("commitment_drawdown"))
        .when(credit & free.is_in(_DISCOUNTS)).then(pl.lit("discount")).when(credit).then(pl.lit("credit"))
        .otherwise(kind.replace_strict({"regular": "usage", "tax": "tax", "rounding_error": "rounding"},
                                       default="adjustment", return_dtype=pl.String)),
        "ChargeDescription": pl.coalesce("credit.name", "adjustment_info.description", "sku.description"),
        "ChargeFrequency": pl.when(usage).then(pl.lit("Usage-Based")).otherwise(pl.lit("One-Time")),
        "PricingCategory": blank.then(pl.lit("Standard")),
        "ConsumedQuantity": blank.then("usage.amount"), "ConsumedUnit": blank.then("usage.unit"),
        "PricingQuantity": blank.then("usage.amount_in_pricing_units"), "PricingUnit": blank.then("usage.pricing_unit"),
        "RegionId": pl.col("location.region"), "AvailabilityZone": pl.col("location.zone"),
        "ResourceId": pl.col("resource.global_name"), "ResourceName": pl.col("resource.name"),
        "SkuId": pl.when(kind != "tax").then("sku.id"), "SkuPriceId": blank.then("sku.id"),
        "SkuMeter": pl.when(kind != "tax").then("sku.description"), "Tags": pl.col("tags"), "x_Team": pl.col("team"),
        "CommitmentDiscountId": pl.col("subscription.instance_id"),
        "x_BillingExchangeRate": pl.col("currency_conversion_rate"),
        **{name: made if name in ("provider", "x_ModelId") else blank.then(made) for name, made in MEANINGS.items()},
        "x_MappingStatus": pl.when(credit).then(pl.lit("not_usage")).otherwise("x_MappingStatus"),
    }
    blocks = pl.col("usage.pricing_unit").str.extract(r"^([0-9]+) ").cast(pl.Int64, strict=False).fill_null(1)
    frame = frame.with_columns(_block=pl.when(usage).then(blocks), _counted=pl.when(usage).then("_counted"))
    return billed(frame, facts, Place(
        item, options, _KEYS, excerpt=("cost", "sku.description", "usage_start_time", "invoice.month"),
        defaults={"HostProviderName": "Google Cloud", "BillingAccountType": "Billing Account"}), records=None)


FORMAT = BillFormat("gcp.billing_export", "core_billing", "period", plan_by_time, read)
