"""The bills of the three clouds: Cost and Usage Report 2.0, Cloud Billing export, Cost Management export."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal

from making.call import Call, day_of, hexed, stamp
from making.prices import MILLION, billed_price, parts
from making.text import csv_text, dumps, gzipped, number, plain
from making.wire_clouds import ACCOUNT, AZURE_ACCOUNT

HOUR_US = 3_600_000_000
THOUSAND = Decimal(1000)

CUR_COLUMNS = ("identity_line_item_id", "identity_time_interval", "bill_bill_type", "bill_billing_period_start_date",
               "bill_payer_account_id", "line_item_usage_account_id", "line_item_line_item_type",
               "line_item_product_code", "line_item_usage_type", "line_item_operation", "line_item_usage_start_date",
               "line_item_usage_end_date", "line_item_usage_amount", "line_item_currency_code",
               "line_item_unblended_rate", "line_item_unblended_cost", "line_item_line_item_description",
               "line_item_resource_id", "pricing_unit", "pricing_public_on_demand_cost", "product_region_code")
CUR_KIND = {"uncached": "input-tokens", "output": "output-tokens", "read": "cache-read-input-token-count",
            "write_5m": "cache-write-input-token-count"}


def cur(calls: list[Call], as_of: date) -> dict[str, str | bytes]:
    """One delivery: hourly lines per usage type and month, and the manifest that names the file."""
    groups: dict[str, dict[tuple[int, str, str, Decimal], int]] = defaultdict(lambda: defaultdict(int))
    for call in calls:
        for kind, (tokens, rate, _) in parts(call, billed_price(call)).items():
            key = (call.at_us // HOUR_US * HOUR_US, call.model, kind, rate)
            groups[f"{call.day:%Y-%m}"][key] += tokens
    made: dict[str, str | bytes] = {}
    for month, rows in groups.items():
        lines = [_cur_line(at, month, key, tokens) for at, (key, tokens) in enumerate(sorted(rows.items()))]
        part = f"data/BILLING_PERIOD={month}/cur2-00001.csv.gz"
        made[part] = gzipped(csv_text(CUR_COLUMNS, lines).encode())
        made[f"metadata/BILLING_PERIOD={month}/cur2-Manifest.json"] = dumps({
            "executionId": f"ex-{as_of}", "columns": [{"name": name, "type": "string"} for name in CUR_COLUMNS],
            "dataFiles": [f"s3://example-bucket/bedrock/cur2/as_of={as_of}/{part}"]}) + "\n"
    return made


def _cur_line(at: int, month: str, key: tuple[int, str, str, Decimal], tokens: int) -> list[str]:
    start_us, model, kind, rate = key
    claude = "claude" in model
    start, end = stamp(start_us, digits=0), stamp(start_us + HOUR_US, digits=0)
    per_1k = plain(rate / THOUSAND)
    usd = plain(tokens * rate / MILLION)
    usage_type = (f"USE1-Claude4.5Haiku-{CUR_KIND[kind]}-cross-region-global" if claude
                  else f"USE1-NovaLite-{CUR_KIND[kind]}")
    return [f"li{at:08d}", f"{start}/{end}", "Anniversary", f"{month}-01T00:00:00Z", ACCOUNT, ACCOUNT, "Usage",
            "AmazonBedrockService" if claude else "AmazonBedrock", usage_type, "InvokeModelInference", start, end,
            plain(tokens / THOUSAND), "USD", per_1k, usd, f"${per_1k} per 1K {CUR_KIND[kind]}",
            f"arn:aws:bedrock:us-east-1:{ACCOUNT}:inference-profile/{model}" if claude else "", "1K tokens", usd,
            "us-east-1"]


GEMINI_NAMES = {"gemini-2.5-pro": "Gemini 2.5 Pro", "gemini-2.5-flash": "Gemini 2.5 Flash",
                "gemini-2.5-flash-lite": "Gemini 2.5 Flash Lite"}
VERTEX_SKUS = {"uncached": "{} GA Text Input - Predictions", "read": "{} GA Text Input Caching - Predictions",
               "output": "{} GA Text Output (Thinking On) - Predictions",
               "reasoning": "{} GA Thinking Text Output - Predictions"}
GEMINI_SKUS = {"uncached": "Generate content input token count {} {} input text",
               "read": "Generate content cached input token count {} {} input text",
               "output": "Generate content output token count {} {} input text"}
KNOWN_SKU_IDS = {"Gemini 2.5 Flash GA Text Input - Predictions": "FDAB-647C-5A22",
                 "Gemini 2.5 Flash GA Text Output (Thinking On) - Predictions": "A253-E8A3-DE5C",
                 "Gemini 2.5 Flash GA Thinking Text Output - Predictions": "CD33-11F4-1220"}
SERVICES = {"vertex": {"id": "C7E2-9256-1C43", "description": "Vertex AI"},
            "gemini": {"id": "AEFD-7695-64FA", "description": "Gemini API"}}


def _sku_parts(source: str, call: Call) -> list[tuple[str, int, Decimal]]:
    """SKU, tokens and USD per million. Vertex bills thoughts under an SKU of their own, the Gemini API does not."""
    used = parts(call, billed_price(call))
    name = GEMINI_NAMES[call.model]
    if source == "gemini":
        context = "long" if call.total > 200_000 else "short"
        return [(GEMINI_SKUS[kind].format(name, context), tokens, rate) for kind, (tokens, rate, _) in used.items()]
    made = [(VERTEX_SKUS[kind].format(name), tokens - (call.reasoning if kind == "output" else 0), rate)
            for kind, (tokens, rate, _) in used.items()]
    if call.reasoning:
        made.append((VERTEX_SKUS["reasoning"].format(name), call.reasoning, used["output"][1]))
    return [part for part in made if part[1]]


def _gcp_window(call: Call) -> tuple[int, int, str]:
    """The UTC day of a call; the first of a month is cut at seven, where the Pacific month begins."""
    day = call.day
    midnight = call.at_us - call.at_us % (24 * HOUR_US)
    month = f"{day_of(call.at_us - 7 * HOUR_US):%Y%m}"
    if day.day > 1:
        return midnight, midnight + 24 * HOUR_US, month
    seven = midnight + 7 * HOUR_US
    return (midnight, seven, month) if call.at_us < seven else (seven, midnight + 24 * HOUR_US, month)


def gcp_export(source: str, calls: list[Call]) -> dict[str, str | bytes]:
    """Rows per day and SKU as BigQuery exports them, one file per invoice month (Pacific)."""
    sums: dict[tuple[str, int, int, str, Decimal], int] = defaultdict(int)
    for call in calls:
        start, end, month = _gcp_window(call)
        for sku, tokens, rate in _sku_parts(source, call):
            sums[month, start, end, sku, rate] += tokens
    files: dict[str, list[str]] = defaultdict(list)
    for (month, start, end, sku, rate), tokens in sorted(sums.items()):
        exported = end + 6 * HOUR_US
        files[month].append(dumps({
            "billing_account_id": "01ABCD-2EF345-6789AB", "service": SERVICES[source],
            "sku": {"id": KNOWN_SKU_IDS.get(sku, f"EXEX-{hexed(sku)[:8].upper()}"), "description": sku},
            "usage_start_time": _sql(start), "usage_end_time": _sql(end),
            "project": {"id": "ex-prod" if source == "vertex" else "ex-studio", "labels": []}, "labels": [],
            "export_time": _sql(exported), "cost": number(tokens * rate / MILLION), "currency": "USD",
            "currency_conversion_rate": number(Decimal("1.0")),
            "usage": {"amount": tokens, "unit": "count", "amount_in_pricing_units": number(tokens / MILLION),
                      "pricing_unit": "1000000 count"},
            "price": {"effective_price": plain(rate), "unit": "1000000 count", "pricing_unit_quantity": "1"},
            "credits": [], "invoice": {"month": month, "publisher_type": "GOOGLE"}, "cost_type": "regular",
            "transaction_type": "GOOGLE"}))
    return {f"gcp_billing_export_resource_v1_{month[:4]}-{month[4:]}.jsonl": "\n".join(lines) + "\n"
            for month, lines in files.items()}


def _sql(at_us: int) -> str:
    return stamp(at_us, digits=0).replace("T", " ").replace("Z", " UTC")


AZURE_COLUMNS = ("SubscriptionId", "Date", "Product", "MeterId", "MeterCategory", "MeterSubCategory", "MeterName",
                 "Quantity", "EffectivePrice", "Cost", "UnitPrice", "BillingCurrency", "ConsumedService", "ResourceId",
                 "UnitOfMeasure", "ChargeType", "PublisherType")
AZURE_NAMES = {"gpt-4o-2024-11-20": "gpt 4o 1120", "gpt-4o-mini-2024-07-18": "gpt 4o mini 0718"}
AZURE_KIND = {"uncached": "Inp", "output": "Outp"}


def azure_export(calls: list[Call], as_of: date) -> dict[str, str | bytes]:
    """The newest run of each month: daily meters, and the manifest."""
    sums: dict[str, dict[tuple[date, str, Decimal], int]] = defaultdict(lambda: defaultdict(int))
    for call in calls:
        for kind, (tokens, rate, _) in parts(call, billed_price(call)).items():
            sums[f"{call.day:%Y-%m}"][call.day, f"{AZURE_NAMES[call.model]} {AZURE_KIND[kind]} glbl", rate] += tokens
    made: dict[str, str | bytes] = {}
    for month, rows in sums.items():
        first = date.fromisoformat(f"{month}-01")
        last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
        folder = f"llmcostops/{first:%Y%m%d}-{last:%Y%m%d}"
        text = csv_text(AZURE_COLUMNS, (_azure_line(*key, tokens) for key, tokens in sorted(rows.items())))
        blob = {"blobName": f"as_of={as_of}/{folder}/part_0_0001.csv", "byteCount": len(text.encode()),
                "dataRowCount": len(rows)}
        made[f"{folder}/part_0_0001.csv"] = text
        made[f"{folder}/manifest.json"] = dumps({
            "manifestVersion": "2024-04-01", "byteCount": blob["byteCount"], "blobCount": 1, "dataRowCount": len(rows),
            "exportConfig": {"exportName": "llmcostops", "type": "ActualCost", "granularity": "Daily"},
            "runInfo": {"submittedTime": f"{as_of}T06:00:00Z", "startDate": f"{first}T00:00:00",
                        "endDate": f"{last}T00:00:00"}, "blobs": [blob]}) + "\n"
    return made


def _azure_line(day: date, meter: str, rate: Decimal, tokens: int) -> list[str]:
    price = plain(rate / THOUSAND)
    return ["00000000-0000-4000-8000-000000000001", f"{day:%m/%d/%Y}", f"Azure OpenAI - {meter}", hexed("meter", meter),
            "Foundry Models", "Azure OpenAI", f"{meter} Tokens", plain(tokens / THOUSAND), price,
            plain(tokens * rate / MILLION), price, "USD", "Microsoft.CognitiveServices", AZURE_ACCOUNT, "1K", "Usage",
            "Azure"]
