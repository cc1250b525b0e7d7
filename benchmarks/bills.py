"""Peak memory of reading a large bill: an export of any size through `cost-ops run`, in a process of its own.

    python benchmarks/bills.py [--gb 2] [--kind aws.cur2|focus] [--dir DIR] [--json]

The goal is 600 MB at 2 GB, whatever the kind. `--dir` keeps the export. The sum of the export is worked out apart and
must come out of the lake to the last digit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import duckdb

GOAL_MB = 600
_CUR = """SELECT 'id' || lpad(i::VARCHAR, 24, '0') AS identity_line_item_id,
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
    'us-east-1' AS product_region_code, '{"product_name": "Amazon Bedrock Service"}' AS product,
    '{}' AS resource_tags,
    '{"iamPrincipal/team": "team-' || (i % 40) || '"}' AS tags
FROM (SELECT i, TIMESTAMP '2026-09-01' + to_seconds(hash(i) % 2592000) AS t FROM range({rows}) AS r(i))"""
_FOCUS = """SELECT cast((1 + i % 977) * 0.001 AS DECIMAL(18,3)) AS BilledCost, 'org-1' AS BillingAccountId,
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
    '{"team":"team-' || (i % 40) || '"}' AS Tags
FROM (SELECT i, TIMESTAMP '2026-09-01' + to_seconds(hash(i) % 2592000) AS t FROM range({rows}) AS r(i))"""
KINDS = {"aws.cur2": (_CUR, 800, "line_item_unblended_cost"), "focus": (_FOCUS, 600, "BilledCost")}


def generate(path: Path, kind: str, size: int) -> Decimal:
    """An export of about `size` bytes, and its sum."""
    statement, width, cost = KINDS[kind]
    with duckdb.connect() as con:
        con.execute("SET threads = 1; SET memory_limit = '400MB'; SET preserve_insertion_order = false")
        rows = statement.replace("{rows}", str(size // width))
        if not path.exists():
            con.execute(f"COPY ({rows}) TO '{path}' (FORMAT csv, HEADER true)")
        return Decimal(con.execute(f"SELECT sum({cost}) FROM ({rows})").fetchall()[0][0])


def measure(folder: Path, path: Path, kind: str) -> tuple[float, float, Decimal]:
    """Peak MB and CPU seconds of the run, and the sum in the lake."""
    (folder / "costops.toml").write_text(
        f'[workspace]\nlake = "lake"\nscratch = "{folder}"\n[[sources]]\nname = "bill"\nkind = "{kind}"\nuri = "{path}"\n')
    command = [sys.executable, "-m", "costops.flows.command", "run", "-q", "--stage", "ingest", "--config",
               str(folder / "costops.toml")]
    with subprocess.Popen(command, env={**os.environ, "COSTOPS_NOW": "2026-10-05T06:00:00+00:00"}) as running:
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    assert running.returncode in (0, 1), f"the run ended with {running.returncode}"
    seconds = used.ru_utime + used.ru_stime
    with duckdb.connect() as con:
        rows = f"read_parquet('{folder}/lake/core_billing/**/*.parquet')"
        told = con.execute(f"SELECT sum(BilledCost) FROM {rows}").fetchall()
    return used.ru_maxrss / 1024, seconds, Decimal(told[0][0])


def main() -> None:
    """Print the peak beside the goal."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--gb", type=float, default=2.0)
    asked.add_argument("--kind", choices=sorted(KINDS), default="aws.cur2")
    asked.add_argument("--dir", type=Path)
    asked.add_argument("--json", action="store_true")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(dir=given.dir) as scratch:
        folder = Path(scratch)
        path = (given.dir or folder) / f"{given.kind}-{given.gb}.csv"
        total = generate(path, given.kind, int(given.gb * 10**9))
        size = path.stat().st_size
        peak, seconds, told = measure(folder, path, given.kind)
    what = f"peak MB of reading a {given.kind} export of {size / 10**9:.2f} GB; CPU s; sum as in it"
    line = {"row": "bills", "what": what,
            "goal": f"<= {GOAL_MB}", "measured": f"{peak:.0f}; {seconds:.0f}; {'yes' if told == total else 'NO'}"}
    print(json.dumps([line], indent=1) if given.json else " | ".join(line.values()))


if __name__ == "__main__":
    main()
