"""Peak memory of reading large bills: an export of any size through `cost-ops run`, in a process of its own.

    python benchmarks/bills.py [--gb 2] [--kind KIND ...] [--dir DIR] [--json]

The goal is 600 MB at 2 GB, whatever the kind. Exports are made from the number of the row alone, so that the same size
gives the same bytes; a Parquet export has the rows of a CSV of that size. `--dir` keeps the exports. The sum of each is
worked out apart and must come out of the lake to the last digit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import duckdb
from told import Row, show

GOAL_MB = 600
_TIMES = "SELECT i, TIMESTAMP '2026-09-01' + to_seconds(hash(i) % 2592000) AS t FROM range({span}) AS r(i)"
_CUR = f"""SELECT 'id' || lpad(i::VARCHAR, 24, '0') AS identity_line_item_id,
    strftime(t, '%Y-%m-%dT%H:00:00Z') || '/' || strftime(t + INTERVAL 1 HOUR,
    '%Y-%m-%dT%H:00:00Z') AS identity_time_interval,
    'Anniversary' AS bill_bill_type, 'AWS' AS bill_billing_entity,
    '2026-09-01T00:00:00Z' AS bill_billing_period_start_date,
    '2026-10-01T00:00:00Z' AS bill_billing_period_end_date, '' AS bill_invoice_id,
    'Amazon Web Services, Inc.' AS bill_invoicing_entity, '111122223333' AS bill_payer_account_id,
    lpad((i % 37)::VARCHAR, 12, '2') AS line_item_usage_account_id, 'Usage' AS line_item_line_item_type,
    'AmazonBedrockService' AS line_item_product_code,
    ['USE1-Claude4.5Haiku-input-tokens-cross-region-global', 'USE1-Claude4.5Haiku-output-tokens-cross-region-global',
     'USE1-NovaLite-input-tokens', 'USE1-NovaLite-output-tokens'][1 + i % 4] AS line_item_usage_type,
    'InvokeModelInference' AS line_item_operation, strftime(t, '%Y-%m-%dT%H:00:00Z') AS line_item_usage_start_date,
    strftime(t + INTERVAL 1 HOUR, '%Y-%m-%dT%H:00:00Z') AS line_item_usage_end_date,
    (1 + i % 977)::VARCHAR AS line_item_usage_amount, 'USD' AS line_item_currency_code,
    '0.001' AS line_item_unblended_rate,
    cast((1 + i % 977) * 0.001 AS DECIMAL(18,3)) AS line_item_unblended_cost,
    '$0.001 per 1K tokens' AS line_item_line_item_description,
    'arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/' || md5((i % 5000)::VARCHAR)
        AS line_item_resource_id,
    'arn:aws:sts::111122223333:assumed-role/Role' || (i % 211) || '/user' || (i % 4001) AS line_item_iam_principal,
    '1K tokens' AS pricing_unit, 'OnDemand' AS pricing_term, 'AmazonBedrockService' AS product_servicecode,
    'us-east-1' AS product_region_code, '{{"product_name": "Amazon Bedrock Service"}}' AS product,
    '{{}}' AS resource_tags,
    '{{"iamPrincipal/team": "team-' || (i % 40) || '"}}' AS tags
FROM ({_TIMES})"""
_FOCUS = f"""SELECT cast((1 + i % 977) * 0.001 AS DECIMAL(18,3)) AS BilledCost, 'org-1' AS BillingAccountId,
    'USD' AS BillingCurrency,
    '2026-09-01T00:00:00Z' AS BillingPeriodStart, '2026-10-01T00:00:00Z' AS BillingPeriodEnd,
    'Usage' AS ChargeCategory,
    '' AS ChargeClass,
    'Model ' || (i % 17) || ' input tokens of resource ' || md5((i % 5000)::VARCHAR) AS ChargeDescription,
    'Usage-Based' AS ChargeFrequency, strftime(t, '%Y-%m-%dT%H:00:00Z') AS ChargePeriodStart,
    strftime(t + INTERVAL 1 HOUR, '%Y-%m-%dT%H:00:00Z') AS ChargePeriodEnd, (1 + i % 977) * 1000 AS ConsumedQuantity,
    'Tokens' AS ConsumedUnit, BilledCost AS ContractedCost, '0.001' AS ContractedUnitPrice,
    BilledCost AS EffectiveCost,
    '' AS InvoiceId, 'Acme' AS InvoiceIssuerName, BilledCost AS ListCost, '0.001' AS ListUnitPrice,
    'Standard' AS PricingCategory,
    (1 + i % 977) AS PricingQuantity, '1000 Tokens' AS PricingUnit, 'Acme' AS ProviderName, 'Acme' AS PublisherName,
    'eu-west-1' AS RegionId,
    '/subscriptions/' || md5((i % 4001)::VARCHAR) || '/accounts/a' || (i % 211) AS ResourceId,
    'a' || (i % 211) AS ResourceName, 'Account' AS ResourceType, 'AI and Machine Learning' AS ServiceCategory,
    'Acme AI' AS ServiceName, 'SKU' || (i % 17) AS SkuId, 'Input Tokens' AS SkuMeter,
    'SKU' || (i % 17) || '_T' AS SkuPriceId,
    'sub-' || (i % 37) AS SubAccountId, 'sub ' || (i % 37) AS SubAccountName,
    '{{"team":"team-' || (i % 40) || '"}}' AS Tags
FROM ({_TIMES})"""
_AZURE = f"""SELECT 'EUR' AS billingCurrency, cast((1 + i % 977) * 0.001 AS DECIMAL(18,3)) AS costInBillingCurrency,
    'acc-1' AS billingAccountId, 'Main account' AS billingAccountName, '09/01/2026' AS billingPeriodStartDate,
    '09/30/2026' AS billingPeriodEndDate, strftime(t, '%m/%d/%Y') AS date, md5((i % 37)::VARCHAR) AS SubscriptionId,
    'sub ' || (i % 37) AS subscriptionName, 'Foundry Models' AS meterCategory, 'Azure OpenAI' AS meterSubCategory,
    ['gpt 4o 1120 Inp glbl Tokens', 'gpt 4o 1120 Outp glbl Tokens', 'gpt 4o 1120 cached Inp glbl Tokens'][1 + i % 3]
        AS meterName, md5((i % 3)::VARCHAR) AS meterId, 'EU West' AS meterRegion, '1K' AS unitOfMeasure,
    (1 + i % 977) AS quantity, '0.001' AS effectivePrice, 'Usage' AS chargeType, 'UsageBased' AS frequency,
    '/subscriptions/' || md5((i % 37)::VARCHAR) || '/resourceGroups/rg' || (i % 9)
        || '/providers/Microsoft.CognitiveServices/accounts/openai-' || (i % 4001) || '-' || md5((i % 5000)::VARCHAR)
        AS ResourceId, 'westeurope' AS resourceLocation, 'Azure' AS publisherType, 'Microsoft' AS publisherName,
    '"team": "team-' || (i % 40) || '","application": "app-' || (i % 300) || '"' AS tags, 'OnDemand' AS pricingModel,
    'EUR' AS pricingCurrency, '1' AS exchangeRatePricingToBilling, 'Azure OpenAI gpt 4o glbl' AS ProductName
FROM ({_TIMES})"""
_GOOGLE = f"""SELECT '0111-2222-3333' AS billing_account_id,
    {{id: 'C7E2-9256-1C43', description: 'Vertex AI'}} AS service,
    {{id: 'SKU-' || (i % 2), description: ['Gemini 2.5 Flash GA Text Input - Predictions',
      'Gemini 2.5 Flash GA Text Output - Predictions'][1 + i % 2]}} AS sku,
    strftime(t, '%Y-%m-%dT%H:00:00Z') AS usage_start_time,
    strftime(t + INTERVAL 1 HOUR, '%Y-%m-%dT%H:00:00Z') AS usage_end_time,
    {{id: 'project-' || (i % 37), name: 'Project ' || (i % 37), labels: [{{key: 'env', value: 'prod'}}]}} AS project,
    [{{key: 'team', value: 'team-' || (i % 40)}}, {{key: 'request', value: 'r' || i}}] AS labels,
    {{location: 'europe-west4', region: 'europe-west4'}} AS location,
    {{name: 'endpoint-' || (i % 4001), global_name: '//aiplatform.googleapis.com/' || md5((i % 5000)::VARCHAR)}}
        AS resource, cast((1 + i % 977) * 0.001 AS DECIMAL(18,3)) AS cost, 'EUR' AS currency,
    0.92 AS currency_conversion_rate,
    {{amount: (1 + i % 977) * 1000, unit: 'count', amount_in_pricing_units: (1 + i % 977), pricing_unit: '1000 count'}}
        AS usage, [{{id: 'c', name: 'Discount', type: 'DISCOUNT', amount: -0.0001}}][1:(i % 10 = 0)::INT] AS credits,
    {{month: '202609'}} AS invoice, 'regular' AS cost_type, '2026-10-02T00:00:00Z' AS export_time
FROM ({_TIMES})"""


@dataclass(frozen=True)
class Export:
    """One export: the query of its rows, what a row of it costs, the form of its files and how many there are."""

    kind: str
    rows: str
    cost: str
    form: str = "csv"
    files: int = 1


EXPORTS = {
    "aws.cur2": Export("aws.cur2", _CUR, "line_item_unblended_cost"),
    "aws.cur2-parquet": Export("aws.cur2", _CUR, "line_item_unblended_cost", "parquet"),
    "azure.cost_export": Export("azure.cost_export", _AZURE, "costInBillingCurrency"),
    "focus": Export("focus", _FOCUS, "BilledCost"),
    "focus-parquet": Export("focus", _FOCUS, "BilledCost", "parquet"),
    "gcp.billing_export": Export("gcp.billing_export", _GOOGLE,
                                 "cost + if(len(credits) > 0, -0.0001, 0)::DECIMAL(18,4)", "json", 2),
}
_OPTIONS = {"csv": "FORMAT csv, HEADER true", "parquet": "FORMAT parquet, COMPRESSION snappy",
            "json": "FORMAT json"}
_READ = """import sys, time
from costops.flows.command import main
code = main(sys.argv[1:])
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak, time.process_time())
sys.exit(code)"""
"""A process tells its own peak: what the system counts for a child begins with the peak of its parent."""


def generate(folder: Path, export: Export, size: int) -> tuple[int, Decimal]:
    """The files of an export of about `size` bytes, unless they are there: how many rows, and their sum."""
    def rows(first: int, last: int) -> str:
        return export.rows.replace("{span}", f"{first}, {last}")

    with duckdb.connect() as con:
        con.execute("SET threads = 1; SET memory_limit = '400MB'; SET preserve_insertion_order = false")
        sample, form = folder / "sample", "csv" if export.form == "parquet" else export.form
        con.execute(f"COPY ({rows(0, 20_000)}) TO '{sample}' ({_OPTIONS[form]})")
        count = size * 20_000 // sample.stat().st_size
        sample.unlink()
        for number in range(export.files):
            path = folder / f"export-{number}.{export.form}"
            if not path.exists():
                first, last = (count * at // export.files for at in (number, number + 1))
                con.execute(f"COPY ({rows(first, last)}) TO '{path}' ({_OPTIONS[export.form]})")
        return count, Decimal(con.execute(f"SELECT sum({export.cost}) FROM ({rows(0, count)})").fetchall()[0][0])


def measure(folder: Path, files: str, kind: str) -> tuple[float, float, float, Decimal]:
    """Peak MB, CPU and wall seconds of the run, and the sum in the lake."""
    (folder / "costops.toml").write_text(
        f'[workspace]\nlake = "lake"\nscratch = "{folder}"\n[[sources]]\nname = "bill"\nkind = "{kind}"\nuri = "{files}"\n')
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", _READ, "run", "-q", "--stage", "ingest", "--config",
                           str(folder / "costops.toml")], env={**os.environ, "COSTOPS_NOW": "2026-10-05T06:00:00+00:00"},
                          capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), f"the run ended with {done.returncode}: {done.stderr[-500:]}"
    peak, cpu = done.stdout.split()[-2:]
    with duckdb.connect() as con:
        lake = f"read_parquet('{folder}/lake/core_billing/**/*.parquet')"
        told = con.execute(f"SELECT sum(BilledCost) FROM {lake}").fetchall()
    return int(peak) * 1024 / 1e6, float(cpu), time.monotonic() - began, Decimal(told[0][0])


def read(name: str, folder: Path, size: int) -> Row:
    """Make one export, read it, and tell what it took."""
    export = EXPORTS[name]
    folder.mkdir(parents=True, exist_ok=True)
    count, total = generate(folder, export, size)
    files = list(folder.glob(f"export-*.{export.form}"))
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        peak, cpu, wall, told = measure(Path(scratch), f"{folder}/export-*.{export.form}", export.kind)
    large = sum(one.stat().st_size for one in files) / 1e9
    return ("bills", f"{name}, {large:.2f} GB, {count:,} rows: peak MB; CPU s; wall s; sum as in it", f"<= {GOAL_MB}",
            f"{peak:.0f}; {cpu:.0f}; {wall:.0f}; {'yes' if told == total else f'NO: {told} of {total}'}")


def main() -> None:
    """Print the peak of each kind beside the goal."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--gb", type=float, default=2.0)
    asked.add_argument("--kind", choices=list(EXPORTS), nargs="+", default=list(EXPORTS))
    asked.add_argument("--dir", type=Path, help="keep the exports here")
    asked.add_argument("--json", action="store_true")
    given = asked.parse_args()
    found = []
    for name in given.kind:
        with tempfile.TemporaryDirectory(dir=given.dir) as scratch:
            folder = (given.dir.resolve() if given.dir else Path(scratch)) / f"{name}-{given.gb}"
            found.append(read(name, folder, int(given.gb * 10**9)))
            if not given.json:
                print(" | ".join(found[-1]), flush=True)
    if given.json:
        show(found, as_json=True)


if __name__ == "__main__":
    main()
